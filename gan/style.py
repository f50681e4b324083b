"""Canting's look: indigo (nila), soga brown, undyed cream and a little wax gold, in light and dark."""

from __future__ import annotations

import gradio as gr

NILA = gr.themes.Color(
    c50="#eef1f8", c100="#d8deed", c200="#b3bfdc", c300="#8799c4", c400="#5d73a9", c500="#3d548e",
    c600="#2b3f74", c700="#22325f", c800="#1b284c", c900="#141e3a", c950="#0d1427",
)  # fmt: skip
SOGA = gr.themes.Color(
    c50="#fbf4ea", c100="#f3e3cb", c200="#e6c799", c300="#d5a566", c400="#bf843f", c500="#a1672a",
    c600="#845022", c700="#683d1d", c800="#4e2e18", c900="#382113", c950="#22140b",
)  # fmt: skip
CREAM = gr.themes.Color(
    c50="#fdfaf4", c100="#f7f1e5", c200="#ece3d1", c300="#d8ccb6", c400="#b0a48f", c500="#857a69",
    c600="#655c4f", c700="#4a443c", c800="#2a2b33", c900="#1a1d28", c950="#11141d",
)  # fmt: skip
GOLD = "#d9a441"


def theme() -> gr.themes.Base:
    """The theme for ``launch``. Its typeface ships with Gradio: nothing is fetched from other hosts."""
    return gr.themes.Base(
        primary_hue=NILA,
        secondary_hue=SOGA,
        neutral_hue=CREAM,
        font=[gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"],
        font_mono=[gr.themes.LocalFont("IBM Plex Mono", weights=(400,)), "ui-monospace", "monospace"],
        radius_size=gr.themes.sizes.radius_sm,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        body_text_color="#241f1a",
        body_text_color_dark="#f1eadd",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="#fffdf9",
        background_fill_primary_dark="*neutral_900",
        background_fill_secondary="*neutral_100",
        background_fill_secondary_dark="#161924",
        block_background_fill="#fffdf9",
        block_background_fill_dark="*neutral_900",
        block_border_width="0px",
        block_shadow="none",
        # Labels lie on pictures.
        block_label_background_fill="#fffdf9",
        block_label_background_fill_dark="*neutral_900",
        block_label_text_color="*neutral_600",
        block_label_text_color_dark="*neutral_400",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        border_color_primary="*neutral_200",
        border_color_primary_dark="#2d3140",
        input_background_fill="#ffffff",
        input_background_fill_dark="#12151f",
        input_border_width="1px",
        input_border_color="*neutral_300",
        input_border_color_dark="#3a3f52",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark=GOLD,
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_dark=GOLD,
        button_primary_background_fill_hover_dark="#e6b85e",
        button_primary_text_color="#fffdf9",
        button_primary_text_color_dark="#1a1408",
        button_secondary_background_fill="*neutral_100",
        button_secondary_background_fill_hover="*neutral_200",
        button_secondary_background_fill_dark="#262a38",
        button_secondary_background_fill_hover_dark="#333849",
        button_secondary_text_color="*neutral_900",
        button_secondary_text_color_dark="#f1eadd",
        slider_color="*primary_500",
        slider_color_dark=GOLD,
        color_accent="*primary_600",
        color_accent_soft="*primary_50",
        color_accent_soft_dark="#262a38",
        link_text_color="*primary_600",
        link_text_color_dark=GOLD,
        stat_background_fill="*primary_300",
        stat_background_fill_dark="*primary_500",
        checkbox_border_color="*neutral_500",
        checkbox_border_color_dark="*neutral_400",
        checkbox_border_color_selected_dark="*neutral_300",
        checkbox_label_background_fill="transparent",
        checkbox_label_background_fill_dark="transparent",
        checkbox_label_background_fill_hover="*neutral_100",
        checkbox_label_background_fill_hover_dark="#262a38",
        checkbox_label_background_fill_selected="*primary_50",
        checkbox_label_background_fill_selected_dark="#262a38",
    )


CSS = """
/* Clipped, not hidden: in what may scroll by itself nothing sticks. */
.gradio-container { max-width: 1440px !important; width: 100%; margin: 0 auto !important;
  padding: 0 20px 24px !important; overflow: clip !important; }
.gradio-container main, .gradio-container .fillable { width: 100%; max-width: 100% !important; padding: 0 !important; }
/* Gold is too pale on cream to be seen around what has the focus. */
.gradio-container { --focus: #a1672a; }
.gradio-container.dark, .dark .gradio-container, .dark { --color-accent: #e6b85e; --focus: #d9a441; }
footer .divider { display: none; }
.gradio-container * { scroll-margin: 5rem; }
:focus-visible { outline: 3px solid var(--focus) !important; outline-offset: 2px; }

/* Head: the name and one line */
#masthead { display: flex; align-items: baseline; gap: 14px; flex-wrap: wrap; padding: 18px 2px 2px; border: 0; }
#masthead .block, #masthead > * { flex: 0 1 auto; width: auto; min-width: 0 !important; padding: 0; }
#masthead h1 { font-size: 28px; letter-spacing: -.01em; margin: 0; line-height: 1.1; }
#masthead p { margin: 0; color: var(--body-text-color-subdued); }
#footer { margin-top: 28px; padding-top: 14px; border-top: 1px solid var(--border-color-primary); }
#footer p { font-size: 13px; color: var(--body-text-color-subdued); max-width: 80ch; }

/* Model picker: radio buttons that look like swatches of cloth */
.swatches { padding: 0 !important; background: transparent !important; min-width: 0 !important; max-width: 100%;
  overflow: hidden !important; }
.swatches .wrap { display: flex; flex-wrap: nowrap; align-items: flex-start; gap: 10px; overflow-x: auto;
  padding: 4px 4px 8px; }
.swatches label { flex: 0 0 auto; width: max(132px, 7em); flex-direction: column; align-items: stretch; gap: 6px;
  padding: 6px; border: 2px solid transparent; border-radius: 8px; background: transparent; box-shadow: none;
  cursor: pointer; }
.swatches label::before { content: ""; display: block; aspect-ratio: 4 / 3; border-radius: 4px;
  background: var(--background-fill-secondary) var(--cloth, none) center / cover; }
.swatches label:has(input:checked) { border-color: var(--primary-600); background: var(--color-accent-soft); }
.dark .swatches label:has(input:checked) { border-color: #d9a441; }
.swatches label:focus-within { outline: 3px solid var(--focus); outline-offset: 1px; }
.swatches label span { margin: 0 !important; font-size: 14px; line-height: 1.25; text-align: center;
  overflow-wrap: anywhere; }
.swatches input { position: absolute; opacity: 0; width: 1px; height: 1px; }

/* Pictures, edge to edge */
.pictures { background: transparent !important; padding: 0 !important; min-height: 0 !important; }
.pictures .grid-wrap { padding: 0 !important; min-height: 0 !important; max-height: none !important;
  height: auto !important; overflow: visible !important; }
.pictures .grid-container { gap: 6px !important; padding: 0 !important;
  grid-template-rows: none; grid-auto-rows: auto; }
.pictures .gallery-item, .pictures .thumbnail-item { border-radius: 3px !important; border: 0 !important; }
.pictures .caption-label { font-size: 12px; opacity: 0; transition: opacity .15s; }
.pictures .gallery-item:hover .caption-label, .pictures .gallery-item:focus-within .caption-label { opacity: 1; }
/* An opened picture takes the place of the grid, no more of it than a screen holds. */
.pictures:has(.preview) .grid-wrap { display: none; }
.pictures .preview { position: relative !important; inset: auto !important; height: min(62vh, 600px) !important;
  z-index: 1 !important; }
#generate-close { padding-top: 34px !important; }
.digits .grid-container { display: flex !important; flex-wrap: wrap; justify-content: center; }
.digits .gallery-item { flex: 1 1 44px; max-width: 220px; }
.pixels img { image-rendering: pixelated; }
#digits-grid img { max-height: 620px; }
#train-samples { padding-top: 30px; }
.loop img { max-height: 420px; margin: 0 auto; }

/* Main actions stay in reach while one looks at the pictures */
.actions { position: sticky; bottom: 0; z-index: 5; align-items: end; gap: 10px; padding: 10px 0;
  background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary); }
.actions .form { background: transparent; border: 0; box-shadow: none; gap: 10px; flex-wrap: nowrap; }
.actions .block { background: transparent; padding: 0; }
/* The ring around what has the focus is wider than the field. */
.actions .form, .actions .block { overflow: visible !important; }
.cancel { display: none; }
.tabitem:has([data-testid="status-tracker"]:not(.hide) .progress-text) .cancel { display: flex; }
progress { appearance: none; display: block; width: 100%; height: 8px; border: 0; border-radius: 4px; overflow: hidden;
  background: var(--border-color-primary); }
progress::-webkit-progress-bar { background: var(--border-color-primary); }
progress::-webkit-progress-value { background: var(--slider-color); }
progress::-moz-progress-bar { background: var(--slider-color); }
/* Gradio counts seconds in English, across what is there. */
[data-testid="status-tracker"] .progress-text { visibility: hidden; }
/* What went wrong is said in a message; what was there before stays in sight. */
[data-testid="status-tracker"]:has(.error) { display: none !important; }
.toast-title { display: none !important; }
.quiet { background: transparent !important; padding: 0 !important; }
.no-show { display: none !important; }

/* Answers about a cloth. No commas inside a selector's brackets: Gradio splits selectors at every comma. */
.answer h3, #classify-versus h3 { font-size: 22px; margin: 0 0 2px; }
#classify-versus h3 { font-size: 16px; margin: 8px 0 6px; }
.answer p { margin: 0 0 10px; color: var(--body-text-color-subdued); }
.answer.doubtful h3 { color: var(--secondary-600); }
.dark .answer.doubtful h3 { color: #d9a441; }
.answer ol { list-style: none; margin: 0; padding: 0; }
.answer li { display: grid; grid-template-columns: 1fr auto; gap: 2px 10px; margin: 0 0 8px; font-size: 15px; }
.answer .share, .answers td { font-variant-numeric: tabular-nums; }
.answer i { grid-column: 1 / -1; height: 6px; border-radius: 3px; background: var(--background-fill-secondary); }
.answer b { display: block; height: 100%; border-radius: 3px; background: var(--slider-color); }
#classify-why, #classify-versus, #classify-why .html-container, #classify-versus .html-container,
#classify-many-table, #classify-many-table .html-container { padding: 0 !important; }
.source-selection button:not(.selected) { color: var(--body-text-color-subdued) !important; }
.until-asked:not(:has(.found)) { display: none; }
.why { margin: 0; }
.why label { display: flex; align-items: center; gap: 8px; padding: 6px 0; cursor: pointer; }
.why input { width: 18px; height: 18px; accent-color: var(--primary-600); }
.dark .why input { accent-color: #d9a441; }
.why div { position: relative; }
.why img { display: block; width: 100%; border-radius: 3px; margin: 0; }
.why .heat { position: absolute; inset: 0; height: 100%; transition: opacity .25s; }
.why:not(:has(input:checked)) .heat, .why:not(:has(input:checked)) figcaption { opacity: 0; }
.why figcaption { font-size: 13px; margin-top: 6px; color: var(--body-text-color-subdued); }
.motifs summary { cursor: pointer; font-weight: 700; padding: 6px 0; }
.motifs dl { margin: 0; }
.motifs dt { font-size: 13px; color: var(--body-text-color-subdued); }
.motifs dd { margin: 0 0 8px; max-width: 65ch; }
.motifs .source { font-size: 12px; color: var(--body-text-color-subdued); }
table.answers { width: 100%; border-collapse: collapse; font-size: 14px; margin: 0 !important; border: 0 !important; }
table.answers th, table.answers td { text-align: left; padding: 7px 10px 7px 0; border: 0;
  border-bottom: 1px solid var(--border-color-primary); background: transparent; vertical-align: top; }
table.answers tr { border: 0 !important; }
table.answers thead th { font-weight: 400; color: var(--body-text-color-subdued); }
table.answers tbody th { overflow-wrap: anywhere; }
table.answers th img { float: left; width: 48px; height: 48px; margin: 0 10px 0 0; border-radius: 3px; }
table.answers small { display: block; font-weight: 400; color: var(--body-text-color-subdued); }
table.answers .failed td { color: var(--secondary-700); }
.dark table.answers .failed td { color: #d9a441; }

@media (max-width: 640px) {
  /* Five tabs side by side on a phone: what does not fit goes into a menu that few open. */
  .tab-container button { padding-inline: 7px !important; font-size: 14px !important; }
  .gradio-container { padding: 0 12px 16px !important; }
  #masthead { padding-top: 12px; }
  .swatches label { width: max(108px, 7em); padding: 5px; }
  .swatches label span { font-size: 12.5px; }
  .pictures:not(.digits) .grid-container { grid-template-columns: repeat(2, minmax(0, 1fr)) !important; }
  .pictures.many:not(.digits) .grid-container { grid-template-columns: repeat(4, minmax(0, 1fr)) !important; }
  /* Five digits a row, so that ten fill two. */
  .digits .gallery-item { flex-basis: 56px; }
  .actions { display: grid !important; grid-template-columns: repeat(6, 1fr); }
  .actions > * { min-width: 0 !important; width: 100%; grid-column: span 3; }
  .actions > .form { grid-column: 1 / -1; }
  .actions button { padding: 8px 6px; font-size: 15px; }
  #generate-start { grid-column: span 6; }
  #classify-photo { height: 300px !important; }
  table.answers thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table.answers tr { display: grid; grid-template-columns: repeat(3, 1fr); gap: 2px 10px; padding: 8px 0;
    border-bottom: 1px solid var(--border-color-primary) !important; }
  table.answers tbody th, table.answers td { padding: 0; border: 0; }
  table.answers tbody th, table.answers .failed td { grid-column: 1 / -1; }
  table.answers td:empty { display: none; }
  table.answers td[data-title]::before { content: attr(data-title); display: block; font-size: 12px;
    color: var(--body-text-color-subdued); }
}
@media (max-width: 350px) { .tab-container button { padding-inline: 4px !important; font-size: 13px !important; } }
@media (prefers-reduced-motion: reduce) { * { transition: none !important; animation-duration: .01s !important; } }
"""
