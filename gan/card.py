"""Model cards: the README.md of a checkpoint folder, made from its config.json and metrics.json."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from gan.catalog import entries
from gan.checkpoint import REJECTION, read_config, without_folders
from gan.files import atomic
from gan.results import reported, results

LABELS = "Many pictures do not show what their label means: `training/ablations.md` has what a reader makes of them."
# What a source is, and what may be done with what was learned from it.
DATA = {
    "mnist": "MNIST, 60,000 handwritten digits of 28×28 pixels.",
    "cifar10": "CIFAR-10 (JPEG): the 50,000 training pictures of 32×32 pixels, as JPEG files, since no lossless copy "
    "was at hand.",
    "anime-faces": "20,000 anime faces of 64×64 pixels, collected from the web; no licence is stated for them.",
    "batik-gan": "Photographs of batik cloth merged from four public collections; no licence is stated for the "
    "pictures. They are as found: mostly flat cloth, with some shop photos, borders and stamps, and near-duplicates, "
    "which cross-validation keeps together.",
    "batik-motifs": "The public 20-motif batik collection (798 pictures); no licence is stated for the pictures. "
    "Labels overlap: Keraton, Sogan, Sidoluhur and Sidomukti share cloths. " + LABELS,
}
CURATED = (
    "Photographs of batik cloth merged from four public collections, without near-duplicates, borders, strips and "
    "empty pictures (`training/manifests`); no licence is stated for the pictures."
)
SOME_MOTIFS = (
    "These classes alone of the public 20-motif batik collection, some forty pictures of each; no licence is stated "
    "for the pictures. " + LABELS
)
CONFUSION, MISTAKES, NEAREST = "confusion.csv", 10, "nearest.csv"
FREE = ("mnist", "cifar10")
LIMITS = {
    "R1": "Few training pictures and little computing time: samples repeat layouts, and fine isen-isen filling is "
    "smeared. A sample is not a historical cloth.",
    "R2": "Faces are small, eyes often differ in size and colour, and some samples melt.",
    "lsgan": "Faces are blurred, and alike but for their colours. It is kept to show the report's method.",
    "R3": "It knows only the classes listed and was trained on a few dozen pictures of each.",
    "R4": "Shapes and colours are those of photographs, but many objects cannot be named.",
    "dense": "Objects cannot be made out: a dense network without convolutions learns colours and rough layout only. "
    "It is kept to show the report's method.",
    "R5": "Strokes of single samples can break or blur.",
    "": "It serves to measure other models.",
}
# A classifier's, by whether it can turn pictures away.
REFUSES = (
    "It says when a picture does not look like batik to it, which is not certain; otherwise it answers however low "
)
REFUSES += "the probability."
DOUBTS = "It says when a picture does not look like batik to it, and when it is unsure; neither is certain."
ANSWERS = "It answers with one of them whatever it is shown: a low probability means that it does not know."
FIGURES = {
    "fid": "FID (lower is better)",
    "fid_uncurated": "FID to all pictures, those left out included",
    "kid": "KID (lower is better)",
    "precision": "Precision",
    "recall": "Recall",
    "recall_class": "Recall of each class",
    "memorised": "Share of samples closer to a training picture than real ones are to each other (0.01 is ideal)",
    "searched": "Training pictures that copies were looked for among",
    "motif_agreement": "Samples that a judge of the three motifs takes for the right one",
    "digit_accuracy": "Samples read as the asked digit",
    "worst_digit_accuracy": "The same, worst digit",
    "train_on_fake_accuracy": "Real test digits read by a network taught on 60,000 generated digits alone",
    "accuracy": "Accuracy",
    "accuracy_low": "95 % interval, low end",
    "accuracy_high": "95 % interval, high end",
    "top3": "Right label among the first three",
    "macro_f1": "Macro F1",
    "ece": "Expected calibration error",
    "temperature": "Temperature, fitted to the held-out answers",
    "sure": "Share of answers that are sure (probability of a half or more)",
    "accuracy_sure": "Accuracy of these",
    "accuracy_unsure": "Accuracy of the others",
    "accuracy_jpeg": "Accuracy on the same photos as JPEG of quality 40",
    "accuracy_half": "at half the size",
    "accuracy_darker": "20 % darker",
    "accuracy_brighter": "20 % brighter",
    "accuracy_turned": "turned by 15°",
    "accuracy_tilted": "seen at an angle",
    "not_batik_auroc": "Telling batik from other pictures (AUROC)",
    "folds": "Folds of the cross-validation (0: a test set of its own)",
    "images": "Pictures measured with",
    "generated": "Generated pictures measured with",
    "real": "Real pictures compared with",
    "reference": "Reference",
    "steps": "Training steps",
    "minutes": "Minutes of training, those of what it began from included",
    "parameters": "Parameters",
}


def write_card(folder: Path | str) -> Path:
    """Write ``README.md`` of a checkpoint folder and return its path.

    Raises:
        CheckpointError: when the folder's config cannot be used.
    """
    folder = Path(folder)
    path = folder / "README.md"
    with atomic(path) as temporary:
        temporary.write_text(card(folder), encoding="utf-8")
    return path


def card(folder: Path) -> str:
    """The card's text, Hub front matter included."""
    config = read_config(folder)
    try:
        metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        metrics = {}
    metrics = metrics if isinstance(metrics, dict) else {}
    source = family(config)
    generator = config["kind"] == "generator"
    data = ModelCardData(
        license="apache-2.0" if source in FREE else "other",
        library_name="canting",
        pipeline_tag="unconditional-image-generation" if generator else "image-classification",
        tags=["canting", "batik" if "batik" in folder.name else source or "images", config["network"]],
    )
    parts = [
        f"---\n{data.to_yaml()}\n---",
        f"# {config.get('title', folder.name)}",
        introduction(folder, config),
        f"## Data\n\n{learned_from(config)}",
    ]
    if metrics:
        parts.append("## Figures\n\n" + table(metrics))
    if metrics and (folder / NEAREST).is_file():
        parts.append(histogram(folder / NEAREST))
    if not generator and (folder / CONFUSION).is_file():
        parts.append("## What it confuses\n\n" + confused(folder / CONFUSION))
    limits = LIMITS.get(config["network"]) or LIMITS.get(str(config.get("report", "")), LIMITS[""])
    if config.get("report") == "R3":
        doubts = DOUBTS if config.get("unsure_below") else REFUSES
        limits += " " + (doubts if (folder / REJECTION).is_file() else ANSWERS)
    parts.append("## Limits\n\n" + limits)
    parts.append("## Licence\n\n" + licence(source, generator))
    return "\n\n".join(parts) + "\n"


def family(config: dict[str, Any]) -> str:
    """The set that a source is of: ``batik-gan`` of ``batik-gan/batik-parang``."""
    return str(config.get("source", "")).split(":")[0].split("/")[0]


def learned_from(config: dict[str, Any]) -> str:
    """What the training pictures are."""
    if family(config) == "batik-gan" and config["kind"] == "generator" and "!all" not in config["source"]:
        return CURATED
    if str(config.get("source", "")).startswith("batik-motifs:"):
        return SOME_MOTIFS
    return DATA.get(family(config), "Pictures that its owner chose.")


def introduction(folder: Path, config: dict[str, Any]) -> str:
    """What the model is and how to use it."""
    lines = [f"Made with Canting's recipe `{config.get('recipe', '')}` (network `{config['network']}`)."]
    if config.get("about"):
        lines.append(config["about"])
    if config.get("start") == folder.name:
        lines.append("Training went on from an earlier state of this model.")
    elif config.get("start") == "imagenet":
        lines.append("Its frozen part has ImageNet's weights.")
    elif config.get("start"):
        lines.append(f"Training began from `{without_folders(config['start'])}`.")
    if config.get("latents"):
        lines.append(
            f"Its latents count as if they were {config['latents']} times as long as those of the training: that makes "
            "its pictures more varied, and a few more of them odd."
        )
    if config["kind"] == "generator":
        use = f'gan.load("{folder.name}").sample(4, seed=7)'
        if (folder / "samples.png").is_file():
            lines.append("\n![Consecutive seeds from 0 at truncation 1, not chosen](samples.png)")
    else:
        photo = "digit.png" if config.get("channels") == 1 else "cloth.jpg"
        use = f'gan.load("{folder.name}").classify("{photo}")'
        lines.append("Classes: " + ", ".join(config.get("classes", [])) + ".")
    return "\n".join(lines) + f"\n\n```python\nimport gan\n\n{use}\n```"


def table(metrics: dict[str, Any]) -> str:
    """The figures as a Markdown table, and the command that measured them."""
    rows = []
    for key, label in FIGURES.items():
        # One of each class is numbered: recall_class_0 and so on.
        values = [one for name, one in metrics.items() if re.fullmatch(rf"{key}(_\d+)?", name) and one is not None]
        if values:
            rows.append(f"| {label} | {', '.join(map(shown, values))} |")
    text = "| | |\n|---|---|\n" + "\n".join(rows)
    if "command" in metrics:
        text += f"\n\nMeasured with `{metrics['command']}` on {str(metrics.get('date', ''))[:10]}."
    return text


def shown(value: Any) -> str:
    """A figure as a card shows it."""
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def histogram(path: Path) -> str:
    """How far generated pictures lie from the nearest training picture, as a Markdown table with bars."""
    lines = [
        "Distance to the nearest training picture, in Inception features (a training picture's own is to the nearest",
        "other). Copies would stand in the first rows:",
        "",
        "| distance | generated | training |",
        "|---|---|---|",
    ]
    with path.open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    for begin, end, *shares in rows:
        bars = " | ".join(f"{'█' * round(40 * float(share))} {float(share):.1%}" for share in shares)
        lines.append(f"| {float(begin):.1f} to {float(end):.1f} | {bars} |")
    return "\n".join(lines)


def confused(path: Path) -> str:
    """The ten most frequent mistakes of a confusion table, as a Markdown list."""
    worst = mistakes(path)[:MISTAKES]
    return "\n".join(f"- {true} taken for {name}: {count} of {total}" for true, name, count, total in worst)


def mistakes(path: Path) -> list[tuple[str, str, int, int]]:
    """A confusion table's mistakes, most frequent first: true class, the one it was taken for, how often, of how many.

    The table has true classes by row; among equals its order stays.
    """
    with path.open(newline="", encoding="utf-8") as file:
        (_, *names), *rows = csv.reader(file)
    found = [
        (true, name, int(count), sum(map(int, counts)))
        for true, *counts in rows
        for name, count in zip(names, counts, strict=True)
        if name != true and int(count)
    ]
    return sorted(found, key=lambda one: -one[2])


def licence(source: str, generator: bool) -> str:
    """Who may do what with the weights and, for generators, with what they make."""
    if source in FREE:
        text = "The weights are under the Apache licence 2.0."
    else:
        text = (
            "The weights are offered as they are, for study, craft and play. The training pictures carry no stated "
            "licence and are not part of this repository; whoever uses the model commercially should look into that "
            "first."
        )
    if generator:
        text += " Canting claims no rights in the pictures that you make with it."
    return text


def results_table() -> str:
    """All models at hand as a Markdown table: reported, measured here, and with what effort."""
    lines = ["| model | report says | measured here | steps | minutes | parameters |", "|---|---|---|---|---|---|"]
    # A report's recipe may ship its figures without weights, which ``entries`` leaves out.
    known = {one.name: one for one in [*(one.entry for one in results()), *entries()]}
    for _, one in sorted(known.items()):
        found = one.metrics
        if found.keys() >= {"fid", "kid", "recall", "generated", "real", "reference"}:
            measured = (
                f"FID {found['fid']:.1f}, KID {found['kid']:.3f}, recall {found['recall']:.2f} "
                f"({found['generated']:,} samples against {found['real']:,} {found['reference']})"
            )
            if "digit_accuracy" in found:
                measured = f"{found['digit_accuracy']:.1%} of digits read as asked; {measured}"
        elif found.keys() >= {"accuracy", "accuracy_low", "accuracy_high", "images"}:
            folds = f"{found['folds']} folds, " if found.get("folds") else ""
            measured = (
                f"{found['accuracy']:.1%} ({found['accuracy_low']:.1%} to {found['accuracy_high']:.1%}; "
                f"{folds}{found['images']:,} pictures)"
            )
        else:
            measured = "not yet"
        effort = " | ".join(f"{found[key]:,}" if key in found else "" for key in ("steps", "minutes", "parameters"))
        link = f"[`{one.name}`](checkpoints/{one.name}/README.md)"
        lines.append(f"| {link} | {reported(one.name)} | {measured} | {effort} |")
    return "\n".join(lines)
