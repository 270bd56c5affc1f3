// The page at /: asks the server as any client does, and draws what /metrics says. No framework, nothing from outside.

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; text is never read as HTML. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// One entry for each way to ask: the fields of the form, the request, and what is shown of the answer.
const FIELDS = {
  text: ["Text", "A warm, funny and quietly devastating film."],
  second: ["Second text, for models that compare two (may be empty)", ""],
  texts: ["Texts, one a line: the first is compared with the others",
    "A man is eating food.\nSomebody eats.\nThe train leaves at noon.\nA woman is playing the violin."],
  question: ["Question", "When was the lighthouse built?"],
  context: ["Context", "The lighthouse at Norvik was built in 1874. Ines Halvorsen kept its lamp for thirty years."],
  words: ["Text", "Ines Halvorsen moved from Bergen to Lisbon in 1901."],
  query: ["Query", "How is copper used?"],
  passages: ["Passages, one a line",
    "Copper conducts electricity well, which is why it is used for cables.\nQuartz and mica make up granite."],
};

const WAYS = {
  similarity: {
    fields: ["texts"],
    ask(values, model) {
      const [source, ...rest] = lines(values.texts);
      return rest.length ? ["similarity", { model, inputs: { source_sentence: source, sentences: rest } }]
        : ["embed", { model, inputs: source ?? "" }];
    },
    show(answer, values) {
      const rest = lines(values.texts).slice(1);
      if (!rest.length) {
        const first = answer[0].slice(0, 8).map((x) => x.toFixed(3)).join(", ");
        return [make("p", {}, `An embedding of ${answer[0].length} numbers: ${first}, …`)];
      }
      return [bars(rest.map((text, at) => [text, answer[at]]))];
    },
  },
  predict: {
    fields: ["text", "second"],
    ask: (values, model) => ["predict", { model, inputs: values.second ? [[values.text, values.second]] : values.text }],
    show: (answer, values) => [bars((values.second ? answer[0] : answer).map((each) => [each.label, each.score]))],
  },
  qa: {
    fields: ["question", "context"],
    ask: (values, model) => ["qa", { model, question: values.question, context: values.context }],
    show: (answer, values) => [
      make("p", { class: "answer" }, answer.answer || "no answer"),
      make("p", { class: "note" }, `probability ${answer.score.toFixed(3)}`),
      marked(values.context, answer.answer ? [{ ...answer, label: "" }] : []),
    ],
  },
  ner: {
    fields: ["words"],
    ask: (values, model) => ["ner", { model, inputs: values.words }],
    show: (answer, values) => [
      make("p", { class: "note" }, answer.length ? `entities: ${answer.length}` : "no entities"),
      marked(values.words, answer.map((each) => ({ ...each, label: each.entity_group }))),
    ],
  },
  rerank: {
    fields: ["query", "passages"],
    ask: (values, model) => ["rerank", { model, query: values.query, texts: lines(values.passages) }],
    show: (answer, values) => [bars(answer.map((each) => [lines(values.passages)[each.index], each.score]))],
  },
};

const OF_KIND = {
  embedding: "similarity", none: "similarity", pooled: "similarity", qa: "qa", tokens: "ner", ranking: "rerank",
  classification: "predict", multilabel: "predict", regression: "predict",
};

/** A list of names with their values and bars; a value from 0 to 1 fills its bar by itself, others by the largest. */
function bars(rows) {
  const widest = Math.max(1, ...rows.map(([, value]) => Math.abs(value)));
  return make("ol", { class: "bars" }, ...rows.map(([name, value]) => {
    const fill = make("i");
    fill.style.width = `${100 * Math.max(0, value) / widest}%`;
    return make("li", {}, make("span", {}, name, make("b", {}, value.toFixed(3))),
      make("span", { class: "bar", "aria-hidden": "true" }, fill));
  }));
}

/** The text with its spans marked; their places count characters as Python does, not UTF-16 units. */
function marked(text, spans) {
  const letters = Array.from(text);
  const box = make("p", { class: "text" });
  let at = 0;
  for (const span of [...spans].sort((one, other) => one.start - other.start)) {
    box.append(letters.slice(at, span.start).join(""));
    const mark = make("mark", {}, letters.slice(span.start, span.end).join(""));
    if (span.label) mark.append(make("small", {}, span.label));
    box.append(mark);
    at = span.end;
  }
  box.append(letters.slice(at).join(""));
  return box;
}

const headers = () => ($("key").value ? { Authorization: `Bearer ${$("key").value}` } : {});
let models = [];
let way = null;

/** The answer of a route as JSON; an Error with the server's own sentence where it refuses. */
async function call(path, body) {
  const options = body === undefined ? { headers: headers() }
    : { method: "POST", headers: { "Content-Type": "application/json", ...headers() }, body: JSON.stringify(body) };
  const response = await fetch(path, options);
  if (response.status === 401) $("key-row").hidden = false;
  const content = await response.json();
  if (!response.ok) throw new Error(content.error ?? `the server answered ${response.status}`);
  return [content, response.headers];
}

function tell(error) {
  $("error").hidden = !error;
  $("error").textContent = error ? error.message : "";
}

/** Show the models, and the first one's fields. */
async function load() {
  try {
    [{ models }] = await call("info");
  } catch (error) {
    tell(error);
    return;
  }
  tell(null);
  $("model").replaceChildren(...models.map((each) => make("option", { value: each.id }, `${each.id} (${each.kind})`)));
  choose();
}

/** The form of the chosen model; what was typed into a field of the same name stays. */
function choose() {
  const model = models.find((each) => each.id === $("model").value);
  const typed = values();
  way = WAYS[OF_KIND[model.kind]];
  $("about").textContent = `${model.family}, ${model.units} units, at most ${model.max_input_length} tokens` +
    (model.labels?.length ? `; labels: ${model.labels.join(", ")}` : "");
  $("fields").replaceChildren(...way.fields.map((name) => {
    const [title, example] = FIELDS[name];
    const short = name === "question" || name === "query" || name === "second";
    const field = make(short ? "input" : "textarea", { id: name, name, ...(short ? { type: "text" } : { rows: 4 }) });
    field.value = typed[name] ?? example;
    return make("p", {}, make("label", { for: name }, title), field);
  }));
}

const values = () => Object.fromEntries([...$("fields").querySelectorAll("input, textarea")]
  .map((field) => [field.name, field.value]));

async function run(event) {
  event.preventDefault();
  if (!way) return load();
  const button = $("ask").querySelector("button");
  const asked = values();
  const [path, body] = way.ask(asked, $("model").value);
  const { show } = way;
  button.disabled = true;
  const start = performance.now();
  try {
    const [answer, told] = await call(path, body);
    const whole = performance.now() - start;
    tell(null);
    $("result").replaceChildren(...show(answer, asked));
    times(told, whole);
  } catch (error) {
    tell(error);
  } finally {
    button.disabled = false;
  }
}

/** The parts of a request's time, from its headers, and what is left of the time that the browser saw. */
function times(told, whole) {
  const of = (name) => Number(told.get(`x-${name}-time`) ?? 0);
  const parts = [["reading the text", of("tokenization")], ["waiting", of("queue")], ["computing", of("inference")]];
  parts.push(["network, browser", Math.max(0, whole - parts.reduce((sum, [, each]) => sum + each, 0))]);
  const all = parts.reduce((sum, [, each]) => sum + each, 0) || 1;
  $("split").replaceChildren(...parts.map(([, each], at) => {
    const part = make("i", { class: `part-${at}` });
    part.style.width = `${100 * each / all}%`;
    return part;
  }));
  $("times").replaceChildren(...parts.map(([name, each], at) => make("div", {},
    make("dt", { class: `part-${at}` }, name), make("dd", {}, `${each.toFixed(2)} ms`))),
  make("div", {}, make("dt", {}, "tokens"), make("dd", {}, told.get("x-compute-tokens") ?? "-")));
  $("time").hidden = false;
}

$("ask").addEventListener("submit", run);
$("ask").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run(event);
});
$("model").addEventListener("change", choose);
$("key").addEventListener("change", load);
load();
