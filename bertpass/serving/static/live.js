// What /metrics says, once a second: rates, latencies and the queue of the last minute.

const SECONDS = 60;
const SVG = "http://www.w3.org/2000/svg";
const PLOTS = [
  { title: "Requests per second", series: [["answered", "rate"], ["failed", "failed"]] },
  { title: "Latency, ms", series: [["p50", "p50"], ["p99", "p99"]] },
  { title: "Rows in the queue", series: [["waiting", "queue"]] },
];
const past = [];
let before = null;
let stopped = false;

/** Prometheus' text as name -> sum over its labels, and the buckets of the requests' durations. */
function read(text) {
  const sums = {};
  const buckets = [];
  for (const line of text.split("\n")) {
    const found = /^([a-z_]+)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (!found) continue;
    const [, name, labels, value] = found;
    sums[name] = (sums[name] ?? 0) + Number(value);
    if (name === "te_request_duration_bucket") {
      const bound = /le="([^"]+)"/.exec(labels)[1];
      buckets.push([bound === "+Inf" ? Infinity : Number(bound), Number(value)]);
    }
  }
  return { at: performance.now(), sums, buckets };
}

/** Milliseconds below which that share of the requests between two readings was, straight inside a bucket. */
function quantile(now, last, share) {
  const counts = now.buckets.map(([bound, count], at) => [bound, count - (last.buckets[at]?.[1] ?? 0)]);
  const all = counts.length ? counts[counts.length - 1][1] : 0;
  if (!all) return null;
  let low = 0;
  let below = 0;
  for (const [bound, count] of counts) {
    if (count >= share * all) {
      return 1e3 * (bound === Infinity ? low : low + (bound - low) * (share * all - below) / Math.max(count - below, 1));
    }
    [low, below] = [bound, count];
  }
  return 1e3 * low;
}

function point(now, last) {
  const seconds = (now.at - last.at) / 1e3;
  const rose = (name) => Math.max(0, (now.sums[name] ?? 0) - (last.sums[name] ?? 0)) / seconds;
  return {
    rate: rose("te_request_success"), failed: rose("te_request_failure"), queue: now.sums.te_queue_size ?? 0,
    p50: quantile(now, last, 0.5), p99: quantile(now, last, 0.99),
  };
}

/** The line of one series, from zero at the bottom; a gap where there was nothing to measure. */
function path(key, top) {
  let pen = "M";
  return past.map((each, at) => {
    if (each[key] === null) {
      pen = "M";
      return "";
    }
    const x = 100 * (SECONDS - past.length + at) / (SECONDS - 1);
    const drawn = `${pen}${x.toFixed(2)},${(100 - 95 * each[key] / top).toFixed(2)}`;
    const alone = pen === "M" && (past[at + 1]?.[key] ?? null) === null;
    pen = "L";
    return alone ? `${drawn}h-1` : drawn; // a dot
  }).join("");
}

const shown = (value) => (value === null || value === undefined ? "none" : value.toFixed(value >= 100 ? 0 : 1));

function draw() {
  const latest = past[past.length - 1] ?? {};
  PLOTS.forEach((plot, at) => {
    const figure = document.getElementById("plots").children[at];
    const top = Math.max(1, ...past.flatMap((each) => plot.series.map(([, key]) => each[key] ?? 0)));
    const words = plot.series.map(([name, key]) => `${name} ${shown(latest[key])}`);
    figure.querySelector("svg").setAttribute("aria-label", `${plot.title} over the last minute; now ${words.join(", ")}`);
    figure.querySelector(".top").textContent = past.length ? `up to ${shown(top)}` : "";
    plot.series.forEach(([, key], number) => {
      figure.querySelectorAll(".series")[number].textContent = words[number];
      figure.querySelectorAll("path")[number].setAttribute("d", path(key, top));
    });
  });
}

async function tick() {
  if (stopped || document.hidden) return;
  const state = document.getElementById("state");
  let said;
  try {
    const answer = await fetch("metrics");
    if (!answer.ok) throw new Error(answer.status);
    const now = read(await answer.text());
    if (before) past.push(point(now, before));
    past.splice(0, past.length - SECONDS);
    before = now;
    const up = now.sums.bertpass_instances_up ?? 0;
    state.dataset.good = up > 0;
    said = up ? `ready, engine processes: ${up}` : "no engine process is ready";
    document.dispatchEvent(new Event("reachable"));
    draw();
  } catch {
    state.dataset.good = false;
    said = "the server does not answer";
    before = null;
  }
  if (state.textContent !== said) state.textContent = said;
}

/** A line of the picture, and its name in the caption, in the same colour and stroke. */
function add(picture, caption, number) {
  const line = document.createElementNS(SVG, "path");
  line.setAttribute("class", number ? "second" : "first");
  picture.append(line);
  const name = document.createElement("span");
  name.className = `series ${number ? "second" : "first"}`;
  caption.append(name);
}

for (const plot of PLOTS) {
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  const picture = document.createElementNS(SVG, "svg");
  picture.setAttribute("viewBox", "0 0 100 100");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  caption.append(Object.assign(document.createElement("strong"), { textContent: plot.title }));
  plot.series.forEach((_, number) => add(picture, caption, number));
  const top = document.createElement("span");
  top.className = "top";
  caption.append(top);
  const axis = document.createElement("div");
  axis.className = "axis";
  for (const words of ["a minute ago", "now"]) {
    axis.append(Object.assign(document.createElement("span"), { textContent: words }));
  }
  figure.append(caption, picture, axis);
  document.getElementById("plots").append(figure);
}
document.getElementById("pause").addEventListener("click", (event) => {
  stopped = !stopped;
  before = null;
  event.target.textContent = stopped ? "Resume" : "Pause";
});
draw();
tick();
setInterval(tick, 1000);
