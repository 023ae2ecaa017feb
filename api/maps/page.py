"""A map as one self-contained HTML file: points on a canvas, hover, zoom, colour by label or score."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import orjson

from api.maps.colours import by_label, by_score

METHOD_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>%(title)s</title><style>
html,body{margin:0;height:100%%;font:14px system-ui,sans-serif;color:#222;background:#fff}
#top{position:fixed;left:12px;top:10px;right:12px;display:flex;gap:16px;align-items:center;flex-wrap:wrap;pointer-events:none}
#top select{pointer-events:auto}
#legend span{margin-right:10px;white-space:nowrap}
#legend i{display:inline-block;width:10px;height:10px;border-radius:5px;margin-right:4px}
#tip{position:fixed;display:none;background:#222;color:#fff;padding:6px 9px;border-radius:4px;pointer-events:none;
 max-width:320px;white-space:pre-line}
canvas{display:block;width:100vw;height:100vh;cursor:crosshair}
</style></head><body>
<canvas id="map"></canvas>
<div id="top"><b>%(title)s</b><label>colour <select id="by"></select></label><div id="legend"></div></div>
<div id="tip"></div>
<script id="data" type="application/json">%(data)s</script>
<script>
const data = JSON.parse(document.getElementById("data").textContent);
const canvas = document.getElementById("map"), pen = canvas.getContext("2d"), tip = document.getElementById("tip");
const by = document.getElementById("by"), legend = document.getElementById("legend");
const bounds = values => [Math.min(...values), Math.max(...values)];
const [left, right] = bounds(data.x), [low, high] = bounds(data.y);
let zoom = 1, shiftX = 0, shiftY = 0, drag = null;
for (const name of Object.keys(data.colours)) by.add(new Option(name, name));
function place(at) {
  const w = innerWidth - 60, h = innerHeight - 100;
  const scale = Math.min(w / (right - left || 1), h / (high - low || 1)) * zoom;
  const x = (data.x[at] - (left + right) / 2) * scale, y = (data.y[at] - (low + high) / 2) * scale;
  return [innerWidth / 2 + x + shiftX, innerHeight / 2 + 20 - y + shiftY];
}
function draw() {
  const dots = devicePixelRatio || 1;
  canvas.width = innerWidth * dots; canvas.height = innerHeight * dots; pen.setTransform(dots, 0, 0, dots, 0, 0);
  const {points, legend: names} = data.colours[by.value];
  pen.globalAlpha = 0.75;
  data.order[by.value].forEach(at => {
    const [x, y] = place(at);
    pen.fillStyle = points[at]; pen.beginPath(); pen.arc(x, y, data.x.length > 1500 ? 2.5 : 4, 0, 7); pen.fill();
  });
  legend.replaceChildren(...names.map(([name, colour]) => {
    const entry = document.createElement("span"), dot = document.createElement("i");
    dot.style.background = colour; entry.append(dot, name); return entry;
  }));
}
function hover(event) {
  if (drag) { shiftX += event.clientX - drag[0]; shiftY += event.clientY - drag[1];
    drag = [event.clientX, event.clientY]; draw(); return; }
  let best = -1, nearest = 144;
  for (let at = 0; at < data.x.length; at++) {
    const [x, y] = place(at), apart = (x - event.clientX) ** 2 + (y - event.clientY) ** 2;
    if (apart < nearest) { nearest = apart; best = at; }
  }
  tip.style.display = best < 0 ? "none" : "block";
  if (best < 0) return;
  const lines = [data.ids[best]];
  if (data.titles[best]) lines.push(data.titles[best]);
  if (data.labels[best] !== null) lines.push("label: " + data.labels[best]);
  if (data.scores[best] !== null) lines.push("anomaly score: " + data.scores[best].toPrecision(4)
    + (data.threshold !== null && data.scores[best] > data.threshold ? ", above the threshold" : ""));
  tip.textContent = lines.join("\\n");
  tip.style.left = Math.min(event.clientX + 14, innerWidth - 330) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - 90) + "px";
}
canvas.addEventListener("pointermove", hover);
canvas.addEventListener("pointerdown", event => { drag = [event.clientX, event.clientY]; });
addEventListener("pointerup", () => { drag = null; });
canvas.addEventListener("wheel", event => {
  event.preventDefault();
  const factor = event.deltaY < 0 ? 1.2 : 1 / 1.2;
  const x = event.clientX - innerWidth / 2, y = event.clientY - innerHeight / 2 - 20;
  shiftX = x - (x - shiftX) * factor; shiftY = y - (y - shiftY) * factor; zoom *= factor; draw();
}, {passive: false});
by.addEventListener("change", draw); addEventListener("resize", draw); draw();
</script></body></html>
"""


def html_page(latent_map: Mapping[str, Any]) -> str:
    """The HTML page of a map from `engine.latent_analysis`."""
    colours = colourings(latent_map)
    order = {name: _order(latent_map, name) for name in colours}
    shown = {name: {"points": points, "legend": legend} for name, (points, legend) in colours.items()}
    text = orjson.dumps({**latent_map, "colours": shown, "order": order}).decode()
    data = text.replace("<", "\\u003c")  # `</` would end the script element
    return PAGE % {"title": escape(title(latent_map)), "data": data}


def title(latent_map: Mapping[str, Any]) -> str:
    shown, every = len(latent_map["ids"]), latent_map["of"]
    return f"{METHOD_NAMES[latent_map['method']]} of {shown:,}{f' of {every:,}' if shown < every else ''} items"


def colourings(latent_map: Mapping[str, Any]) -> dict[str, tuple[list[str], list[tuple[str, str]]]]:
    """(colour of each point, legend) by name: `label` if any point has one, `anomaly score` if any point has one."""
    available = {}
    if any(label is not None for label in latent_map["labels"]):
        available["label"] = by_label(latent_map["labels"])
    if any(score is not None for score in latent_map["scores"]):
        available["anomaly score"] = by_score(latent_map["scores"], latent_map["threshold"])
    return available or {"label": by_label(latent_map["labels"])}


def _order(latent_map: Mapping[str, Any], name: str) -> list[int]:
    """The drawing order: the highest score last, on top of the others."""
    rows = list(range(len(latent_map["ids"])))
    return rows if name == "label" else sorted(rows, key=lambda at: latent_map["scores"][at] or 0)
