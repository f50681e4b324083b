"""What is trained how: the one place to read it. Each recipe is a frozen dataclass; `fit --set key=value` changes a
field for one run."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class GanRecipe:
    """One generative adversarial training.

    Attributes:
        name: of the recipe and of the checkpoint it makes.
        report: R1 to R5, the report it stands for.
        source: the data, a name that ``training.data.sources`` opens.
        network: the generator's family in ``gan.nets``; ``network_args`` are its arguments.
        discriminators: families with their arguments: the network's own, ``projected``, or both (the
            loss is the mean over all their maps of logits).
        loss: a key of ``training.losses.LOSSES``.
        smoothing: how far the discriminator's target for reals lies below 1, for losses that have one.
        gradient_penalty: weight of WGAN-GP's penalty, which is always computed in float32.
        crop: random square crops as shares of the short side, None for the centre square.
        flip: mirror half of the pictures.
        augment: DiffAugment policies, on reals and fakes.
        rate_g, rate_d: Adam's learning rates (different ones: TTUR, Heusel et al. 2017).
        cooldown: the share of the steps, at the end, over which both rates fall linearly to zero.
        betas: Adam's.
        batch: pictures a forward pass; ``accumulate`` passes make one step.
        d_steps: updates of the discriminators, each on pictures of its own, for one of the generator.
        ema: decay of the generator's moving average, which is what ships.
        spectral: "", "d", "g" or "gd": which networks' weights are spectrally normalised; of a styled generator all
            but styles and gates.
        reconstruction: weight of the auto-encoding discriminator's reconstruction loss.
        discrepancy: weight of the maximum mean discrepancy in frozen features, against mode collapse.
        coverage: weight of the distance of real pictures to the generated ones nearest to them, which are half of each
            batch then: none may be left out (Li and Malik 2018).
        transport: weight of the way to the real pictures' mean and covariance in the same frozen features.
        start: a checkpoint whose generator the training starts from, with its discriminators where it has the same.
        freeze: how many of the first layers with weights on each way through these discriminators stay as ``start`` has
            them (Freeze-D: Mo, Cho and Shin 2020).
        precision: "auto" (bfloat16 where the hardware is fast in it), "float32" or "bfloat16".
        steps: of the whole training; the first ``low_steps`` of them at 128² only, a quarter of the cost, and of these
            the first ``lowest_steps`` at 64². On the command line these two keep their share of other ``steps``.
        save_every: steps between saved states; ``snapshot_every`` between generators kept for judging.
        score_every: steps between measurements of the generator, 0 for none: FID and KID with ``score_samples``
            generated and at most as many real pictures. Inception takes about a fifth of a second for each on a CPU
            core; the time does not count as training. Each measured generator is kept, and ``export`` takes the best.
    """

    name: str
    report: str
    source: str
    network: str
    network_args: dict = field(default_factory=dict)
    discriminators: dict[str, dict] = field(default_factory=dict)
    resolution: int = 256
    channels: int = 3
    loss: str = "hinge"
    smoothing: float = 0.0
    gradient_penalty: float = 0.0
    crop: tuple[float, float] | None = None
    flip: bool = False
    augment: tuple[str, ...] = ()
    rate_g: float = 2e-4
    rate_d: float = 2e-4
    cooldown: float = 0.0
    betas: tuple[float, float] = (0.5, 0.999)
    batch: int = 8
    accumulate: int = 1
    d_steps: int = 1
    ema: float = 0.999
    spectral: str = ""
    reconstruction: float = 1.0
    discrepancy: float = 0.0
    coverage: float = 0.0
    transport: float = 0.0
    start: str = ""
    freeze: int = 0
    precision: str = "auto"
    seed: int = 0
    steps: int = 1000
    low_steps: int = 0
    lowest_steps: int = 0
    save_every: int = 250
    snapshot_every: int = 250
    score_every: int = 0
    score_samples: int = 500
    about: str = ""


@dataclass(frozen=True)
class ClassifierRecipe:
    """One training of a classifier.

    Attributes:
        name, report, source, network, network_args, batch, seed, precision, steps, save_every, about: as above.
        start: "imagenet" fills a network's frozen part with pretrained weights; the name of a checkpoint of the same
            network with that one's.
        opened: the resolution that pictures are opened for, 0 for ``resolution``: close views need more.
        views: squares along a picture's long side that the network sees: in turn while training, averaged after.
        close: a view's width as a share of the short side, see ``gan.classify.squares``.
        train_views: how many views "lbfgs" trains on, where these are more than the answer is the mean of.
        calibrate: fit a temperature to the held-out answers of cross-validation, and call those unsure that are then
            more likely wrong than right.
        at_large: a source of batik of all kinds, to learn from what is no batik; "" for a model that cannot tell.
        blurs: sides of squares that batik at large is also shrunk to before, so that blur alone does not make a picture
            a stranger.
        mean, std: a channel's mean and deviation that pictures in [0, 1] are normalised with.
        rotation: augmentation, up to this many degrees either way.
        shift: up to this share of the side, each way.
        shear: up to this many degrees either way, which is how Keras reads the reports' number.
        zoom: each side by a factor of 1 − zoom to 1 + zoom.
        flip: mirror half of the pictures.
        rate: Adam's learning rate; with ``cosine`` it falls to zero along half a cosine.
        smoothing: of the labels, the share that is spread evenly over all classes.
        solver: "adam", or "lbfgs" for a linear layer on frozen features, on which steps are iterations over all rows.
        decay: weight of half the linear layer's squared length in the loss, with "lbfgs".
        passes: how many differently augmented passes over the pictures the frozen part of the network sees; they are
            computed once and taken in turn. 0 for networks without a frozen part.
        test: a source to measure on; "" for cross-validation in ``folds`` parts.
    """

    name: str
    report: str
    source: str
    network: str
    network_args: dict = field(default_factory=dict)
    start: str = ""
    resolution: int = 224
    channels: int = 3
    opened: int = 0
    views: int = 3
    close: float = 1.0
    train_views: int = 0
    calibrate: bool = False
    at_large: str = ""
    blurs: tuple[int, ...] = ()
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    rotation: float = 40.0
    shift: float = 0.2
    shear: float = 0.2
    zoom: float = 0.2
    flip: bool = True
    batch: int = 32
    rate: float = 1e-3
    cosine: bool = False
    smoothing: float = 0.0
    solver: str = "adam"
    decay: float = 0.0
    passes: int = 0
    test: str = ""
    folds: int = 5
    precision: str = "auto"
    seed: int = 0
    steps: int = 100
    save_every: int = 100
    about: str = ""


def batik(name: str, source: str, flip: bool, steps: int, start: str = "") -> GanRecipe:
    """The best batik recipe so far: a styled lean FastGAN generator against a projected discriminator and one of
    patches, with a discrepancy that keeps it from collapsing, the coverage of every cloth and a pull to the real
    pictures' mean and covariance, small pictures first."""
    return GanRecipe(
        name=name,
        report="R1",
        source=source,
        network="fastgan",
        network_args={"resolution": 256, "width": 24, "noise": False, "styled": True, "fine": 32, "styles": 128},
        discriminators={
            "projected": {"side": 128, "patches": True, "mixed": [64, 96, 128, 256], "width": 96},
            "patch": {},
        },
        loss="hinge",
        # Tighter ones make every motif larger than the cloths have it.
        crop=(0.85, 1.0),
        flip=flip,
        augment=("translation", "small-cutout"),
        betas=(0.0, 0.99),
        batch=16,
        ema=0.998,
        spectral="gd",
        discrepancy=60.0,
        coverage=10.0,
        transport=8.0,
        start=start,
        steps=steps,
        low_steps=steps * 9 // 10,
        lowest_steps=steps * 6 // 10,
        about="A lean FastGAN generator with styles against a projected discriminator and one of patches, a maximum "
        "mean discrepancy against collapse, a coverage loss that leaves no cloth out and a pull to the cloths' mean "
        "and covariance; from nothing at 64² and 128² first.",
    )


def batik_report(motif: str, batch: int, steps: int = 20_000, start: str = "") -> GanRecipe:
    """R1 as written: FastGAN with the auto-encoding discriminator and TTUR, in widths that two CPU cores carry.

    They are the same for all three motifs, as one starts from another.
    """
    return GanRecipe(
        name=f"batik-{motif}-report",
        report="R1",
        source=f"batik-gan/batik-{motif}",
        network="fastgan",
        network_args={"resolution": 256, "width": 8},
        discriminators={"fastgan": {"resolution": 256, "width": 8}},
        loss="soft-hinge",
        augment=("color", "translation", "cutout"),
        rate_d=4e-4,
        batch=8,
        accumulate=batch // 8,
        spectral="gd",
        start=start,
        steps=steps,
        about="R1 as written but for the widths, 8 where FastGAN has 64, which two CPU cores carry. Loss, rates and "
        "widths are unstated: FastGAN's, with TTUR 2e-4 / 4e-4.",
    )


THREE_MOTIFS = "batik-motifs:batik-bali,batik-betawi,batik-celup"


def batik_classifier(name: str, source: str, steps: int) -> ClassifierRecipe:
    """R3's head trained on R3's frozen MobileNetV2.

    Differs from R3: the input is normalised as the weights expect (R3 gives [0, 1] where Keras's weights want [-1, 1])
    and seen in five close squares, and nothing but mirroring augments it. In cross-validation R3's rotation, shifts,
    shear and zoom made frozen features worse.
    """
    return ClassifierRecipe(
        name=name,
        report="R3",
        source=source,
        network="mobilenet-v2",
        start="imagenet",
        views=5,
        close=0.7,
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        rotation=0.0,
        shift=0.0,
        shear=0.0,
        zoom=0.0,
        passes=10,
        cosine=True,
        # A few motifs alone would turn the others away.
        at_large="" if ":" in source else source,
        # As the app answers on a CPU. In bfloat16 three motifs were told by three points less, on some machines alone.
        precision="float32",
        steps=steps,
        save_every=steps,
        about="R3's MobileNetV2 with its head; the input normalised as the weights expect, in five close squares.",
    )


def batik_best(name: str, source: str, covariances: int = 0) -> ClassifierRecipe:
    """A linear layer on what two frozen networks see, the textures of their middle stages included.

    Covariances bring twenty motifs two and a half points, and three, on folds of other seeds, nothing.
    """
    return replace(
        batik_classifier(name, source, steps=40),
        network="mobilenet-efficientnet",
        network_args={"covariances": covariances} if covariances else {},
        opened=256,
        train_views=8,
        calibrate=True,
        at_large="batik-motifs",
        blurs=(32, 64, 128),
        passes=1,
        solver="lbfgs",
        smoothing=0.1,
        decay=3e-4,
        save_every=20,
        about="MobileNetV2 and EfficientNet-Lite2, both frozen, with the textures of their middle stages"
        f"{' and the covariances of eight' if covariances else ''}, under a linear layer. Views, features and decay "
        "were chosen on the folds of other seeds than the one measured on.",
    )


def digits(name: str, about: str, cooldown: float = 0.0) -> GanRecipe:
    """R5's conditional GAN."""
    return GanRecipe(
        name=name,
        report="R5",
        source="mnist:train",
        network="cgan",
        discriminators={"cgan": {}},
        resolution=28,
        channels=1,
        loss="bce",
        cooldown=cooldown,
        batch=200,
        steps=20_000,
        save_every=1000,
        snapshot_every=1000,
        about=about,
    )


RECIPES = {
    recipe.name: recipe
    for recipe in (
        batik_report("parang", batch=16),
        batik_report("megamendung", batch=64),
        batik_report("kawung", batch=16, steps=10_000, start="batik-parang-report"),
        GanRecipe(
            name="anime-lsgan",
            report="R2",
            source="anime-faces",
            network="lsgan",
            discriminators={"lsgan": {}},
            resolution=64,
            loss="lsgan",
            batch=128,
            steps=15_700,
            about="R2 as written: 100 epochs of 20,000 faces. Optimiser and rates are unstated: DCGAN's are taken.",
        ),
        GanRecipe(
            name="anime-dcgan",
            report="R2",
            source="anime-faces",
            network="dcgan",
            discriminators={"dcgan": {}},
            resolution=64,
            loss="bce",
            batch=128,
            steps=15_700,
            about="What R2 did not compare with: DCGAN as published, 100 epochs.",
        ),
        GanRecipe(
            name="anime-wgan-gp",
            report="R2",
            source="anime-faces",
            network="dcgan",
            discriminators={"dcgan": {"batch_norm": False}},
            resolution=64,
            loss="wgan",
            gradient_penalty=10.0,
            rate_g=1e-4,
            rate_d=1e-4,
            betas=(0.0, 0.9),
            batch=64,
            d_steps=5,
            steps=6_250,
            about="What R2 did not compare with: WGAN-GP on DCGAN's networks, 100 epochs.",
        ),
        GanRecipe(
            name="anime-best",
            report="R2",
            source="anime-faces",
            network="fastgan",
            network_args={"resolution": 64, "width": 16, "noise": False},
            discriminators={"projected": {"side": 128, "mixed": [64, 96, 128, 256], "width": 96}},
            resolution=64,
            flip=True,
            augment=("translation", "small-cutout"),
            betas=(0.0, 0.99),
            batch=16,
            ema=0.998,
            spectral="gd",
            steps=20_000,
            snapshot_every=500,
            about="R2 improved: a lean FastGAN generator against a projected discriminator that sees faces at 128².",
        ),
        GanRecipe(
            name="cifar10-dense",
            report="R4",
            source="cifar10:train",
            network="dense",
            discriminators={"dense": {}},
            resolution=32,
            loss="bce",
            batch=128,
            steps=40_000,
            save_every=2000,
            snapshot_every=2000,
            about="R4 as written. Discriminator, optimiser and batch are unstated: the generator reversed, DCGAN's.",
        ),
        GanRecipe(
            name="cifar10-dcgan",
            report="R4",
            source="cifar10:train",
            network="dcgan",
            network_args={"resolution": 32, "classes": 10},
            discriminators={"dcgan": {"resolution": 32, "dropout": 0.3}},
            resolution=32,
            loss="bce",
            smoothing=0.1,
            augment=("rotation", "small-translation"),
            batch=128,
            steps=40_000,
            save_every=1000,
            snapshot_every=1000,
            about="R4's wishes: convolutions, labels by embedding, label smoothing, dropout, small turns and shifts.",
        ),
        GanRecipe(
            name="cifar10-resnet",
            report="R4",
            source="cifar10:train",
            network="resnet",
            network_args={"classes": 10},
            discriminators={"resnet": {"classes": 10}},
            resolution=32,
            flip=True,
            rate_d=4e-4,
            betas=(0.0, 0.9),
            batch=64,
            spectral="d",
            steps=40_000,
            save_every=1000,
            snapshot_every=1000,
            about="A small ResNet with spectral norm: labels by conditional batch norm and projection, hinge, TTUR.",
        ),
        GanRecipe(
            name="cifar10-best",
            report="R4",
            source="cifar10:train",
            network="fastgan",
            network_args={"resolution": 32, "width": 16, "noise": False},
            discriminators={"projected": {"side": 96, "mixed": [64, 96, 128, 256], "width": 96}},
            resolution=32,
            flip=True,
            augment=("translation", "small-cutout"),
            betas=(0.0, 0.99),
            batch=32,
            ema=0.998,
            spectral="gd",
            steps=20_000,
            snapshot_every=500,
            about="R4 improved: a lean FastGAN generator against a projected discriminator that sees pictures at 96².",
        ),
        digits("mnist-cgan-report", "R5 as written; its 20,000 epochs are read as steps."),
        digits(
            "mnist-cgan",
            "R5 improved: both rates fall to zero over the last three tenths of the training.",
            cooldown=0.3,
        ),
        GanRecipe(
            name="mnist-cgan-projection",
            report="R5",
            source="mnist:train",
            network="cgan",
            discriminators={"cgan-projection": {"width": 24}},
            resolution=28,
            channels=1,
            loss="hinge",
            rate_d=4e-4,
            batch=64,
            steps=20_000,
            ema=0.999,
            spectral="d",
            save_every=1000,
            snapshot_every=1000,
            about="R5 with a projection discriminator, spectral norm in place of batch norm, hinge and TTUR.",
        ),
        batik("batik-parang", "batik-gan/batik-parang", flip=False, steps=20_000),
        batik("batik-megamendung", "batik-gan/batik-megamendung", flip=True, steps=20_000),
        batik("batik-kawung", "batik-gan/batik-kawung", flip=True, steps=10_000, start="batik-parang"),
        ClassifierRecipe(
            name="judge-mnist",
            report="–",
            source="mnist:train",
            network="digit-judge",
            resolution=28,
            channels=1,
            views=1,
            mean=(0.1307,),
            std=(0.3081,),
            rotation=10.0,
            shift=0.1,
            shear=10.0,
            zoom=0.1,
            flip=False,
            batch=128,
            rate=2e-3,
            cosine=True,
            test="mnist:test",
            steps=3500,
            save_every=500,
            about="Reads digits, only to measure what generators make of them. Seven and a half epochs.",
        ),
        replace(
            batik_classifier("judge-batik", "batik-gan", steps=600),
            report="–",
            at_large="",
            about="Tells Parang, Kawung and Megamendung apart, only to measure what generators make of them.",
        ),
        ClassifierRecipe(
            name="batik-cnn-3",
            report="R3",
            source=THREE_MOTIFS,
            network="scratch-cnn",
            precision="float32",
            steps=30,
            save_every=10,
            about="R3's own network as written. Epochs are unstated: 8.",
        ),
        batik_classifier("batik-mobilenet-3", THREE_MOTIFS, steps=200),
        batik_classifier("batik-mobilenet-20", "batik-motifs", steps=600),
        batik_best("batik-best-3", THREE_MOTIFS),
        batik_best("batik-best-20", "batik-motifs", covariances=48),
    )
}
