// The progress of one action over the time that the page has watched it, as a small chart.

import { attribute, svg } from "./dom.js";
import { ageText, localTime, percentText, statusNames } from "./text.js";

const top = 10, bottom = 24, left = 40, right = 4;

// chart draws the samples, {at, progress, status}, up to the time until. width and height are in pixels.
// It redraws the same element, so that a screen reader sees one picture.
export function chart(place, samples, until, width, height) {
  const inner = { width: width - left - right, height: height - top - bottom };
  const from = samples[0].at, span = Math.max(until - from, 1);
  const x = (at) => left + ((at - from) / span) * inner.width;
  const y = (progress) => top + (1 - progress) * inner.height;
  const picture = place.firstElementChild ?? place.appendChild(svg("svg", { class: "chart", role: "img" }));
  picture.replaceChildren();
  attribute(picture, "viewBox", `0 0 ${width} ${height}`);
  attribute(picture, "aria-label", summary(samples, until));
  for (const level of [0, 0.5, 1]) {
    picture.append(
      svg("line", { class: "grid", x1: left, x2: width - right, y1: y(level), y2: y(level) }),
      svg("text", { x: left - 6, y: y(level) + 4, "text-anchor": "end" }, percentText(level)));
  }
  picture.append(
    svg("text", { x: left, y: height - 6 }, localTime(from)),
    svg("text", { x: width - right, y: height - 6, "text-anchor": "end" }, `${ageText(until - from)} later`));
  for (const piece of pieces(samples, until)) picture.append(...draw(piece, x, y));
}

// pieces returns the runs of samples that have a progress and the same status. Each ends where the next begins.
function pieces(samples, until) {
  const all = [];
  samples.forEach(({ at, progress, status }, i) => {
    const last = all.at(-1), point = { at, progress };
    if (progress === undefined) {
      if (last && !last.over) last.over = true;
      return;
    }
    const goesOn = last && !last.over && progress >= last.points.at(-1).progress;
    if (goesOn) last.points.push(point);
    if (!goesOn || last.status !== status) {
      if (last) last.over = true;
      all.push({ status, points: [point] });
    }
    if (i === samples.length - 1) all.at(-1).points.push({ at: until, progress });
  });
  return all;
}

function draw({ status, points }, x, y) {
  const line = points.map(({ at, progress }) => `${x(at).toFixed(1)},${y(progress).toFixed(1)}`);
  const first = x(points[0].at).toFixed(1), last = x(points.at(-1).at).toFixed(1);
  const name = statusNames[status];
  return [
    svg("polygon", { class: "area", "data-status": name, points: `${first},${y(0)} ${line.join(" ")} ${last},${y(0)}` }),
    svg("polyline", { class: "line", "data-status": name, points: line.join(" ") }),
  ];
}

function summary(samples, until) {
  const known = samples.filter(({ progress }) => progress !== undefined);
  const time = ageText(until - samples[0].at);
  if (known.length === 0) return `No progress was reported in ${time}.`;
  return `Progress from ${percentText(known[0].progress)} to ${percentText(known.at(-1).progress)} in ${time}.`;
}
