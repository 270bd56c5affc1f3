// The page at /: asks the server as any client does, and draws what /metrics says. No framework, nothing from outside.

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; text is never read as HTML. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** The way to ask a model of each kind, and what such a model does, in words. */
const OF_KIND = {
  embedding: ["similarity", "compares texts"], none: ["similarity", "compares texts"],
  pooled: ["similarity", "compares texts"], qa: ["qa", "answers questions"], tokens: ["ner", "marks names"],
  ranking: ["rerank", "ranks passages"], classification: ["predict", "gives one label"],
  multilabel: ["predict", "gives several labels"], regression: ["predict", "gives values"],
  late: ["rerank", "ranks passages"], sparse: ["sparse", "gives words weights"], mlm: ["mask", "fills in words"],
};

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

// One entry for each way to ask: the fields of the form, the request, and what is shown of the answer.
const FIELDS = {
  text: ["Text", "A warm, funny and quietly devastating film."],
  second: ["Second text, for models that compare two (may be empty)", ""],
  texts: ["Texts, one per line: the first is compared with the others",
    "A man is eating food.\nSomebody eats.\nThe train leaves at noon.\nA woman is playing the violin."],
  question: ["Question", "When was the lighthouse built?"],
  context: ["Context", "The lighthouse at Norvik was built in 1874. Ines Halvorsen kept its lamp for thirty years."],
  words: ["Text", "Ines Halvorsen moved from Bergen to Lisbon in 1901."],
  masked: ["Text with a mask token, such as [MASK] or <mask>", "The lighthouse stands by the [MASK]."],
  query: ["Query", "How is copper used?"],
  passages: ["Passages, one per line",
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
    ask: ({ text, second }, model) => ["predict", { model, inputs: second ? [[text, second]] : text }],
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
  sparse: {
    fields: ["text"],
    ask: (values, model) => ["embed_sparse", { model, inputs: values.text }],
    show: ([words]) => [
      make("p", { class: "note" }, `words with a weight: ${words.length}; the heaviest, by their ids:`),
      bars([...words].sort((one, other) => other.value - one.value).slice(0, 10)
        .map((each) => [`id ${each.index}`, each.value]))],
  },
  mask: {
    fields: ["masked"],
    ask: (values, model) => ["invocations", { model, inputs: values.masked }],
    show: (answer) => (Array.isArray(answer[0]) ? answer : [answer])
      .map((words) => bars(words.map((each) => [each.token_str, each.score]))),
  },
  rerank: {
    fields: ["query", "passages"],
    ask: (values, model) => ["rerank", { model, query: values.query, texts: lines(values.passages) }],
    show: (answer, values) => [bars(answer.map((each) => [lines(values.passages)[each.index], each.score]))],
  },
};

/** Names with values, the highest first; bars begin at zero, and the best is the highest value, wherever it was. */
function bars(rows) {
  const values = rows.map(([, value]) => value);
  const low = Math.min(0, ...values);
  const high = Math.max(1, ...values);
  const place = (value) => `${100 * (value - low) / (high - low)}%`;
  return make("ol", { class: "bars" }, ...[...rows].sort((one, other) => other[1] - one[1]).map(([name, value]) => {
    const fill = make("i");
    fill.style.left = place(Math.min(0, value));
    fill.style.width = `${100 * Math.abs(value) / (high - low)}%`;
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, fill);
    if (low < 0) {
      const zero = make("i", { class: "zero" });
      zero.style.left = place(0);
      bar.append(zero);
    }
    return make("li", value === Math.max(...values) ? { class: "best" } : {},
      make("span", {}, name, make("b", {}, value.toFixed(3))), bar);
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
let asked = 0; // counts what was asked or chosen: an answer to anything before is not shown
let lost = false; // whether the last error was that nothing answers

/** The key of this tab, where the browser keeps such things. */
function stored(value) {
  try {
    if (value !== undefined) sessionStorage.setItem("key", value);
    return sessionStorage.getItem("key") ?? "";
  } catch {
    return "";
  }
}

/** The answer of a route as JSON; an Error with the server's own sentence where it refuses. */
async function call(path, body) {
  if (/[^\x21-\x7e]/.test($("key").value)) throw wanted("A key has letters, digits and signs of ASCII, and no space.");
  const options = body === undefined ? { headers: headers() }
    : { method: "POST", headers: { "Content-Type": "application/json", ...headers() }, body: JSON.stringify(body) };
  const response = await fetch(path, options).catch(() => null);
  lost = !response;
  if (!response) throw new Error("The server does not answer. This goes on by itself when it does.");
  if (response.status === 401) {
    throw wanted($("key").value ? "This key is not the server's." : "This server wants a key.");
  }
  const content = await response.json().catch(() => null);
  if (!response.ok || content === null) {
    const said = typeof content?.error === "string" ? content.error : null;
    throw new Error(said ?? `The answer was ${response.status}, and not from bertpass: is a proxy in between?`);
  }
  return [content, response.headers];
}

/** Shows the field of the key, and no link to what needs it, which a browser would open without it. */
function locked() {
  $("key-row").hidden = false;
  for (const link of document.querySelectorAll("nav .keyed")) link.hidden = true;
}

/** The error of a key that is missing or wrong. */
function wanted(sentence) {
  locked();
  return Object.assign(new Error(sentence), { quiet: !$("key").value });
}

/** Shows an error, or none; a key that was not given yet is no fault. */
function tell(error) {
  $("error").hidden = !error;
  $("error").className = error?.quiet ? "note" : "error";
  $("error").textContent = error ? error.message : "";
}

/** What is shown where there is no answer; an answer never stays beside another question's error. */
function empty(words) {
  $("result").replaceChildren(...(words ? [make("p", { class: "note" }, words)] : []));
  $("time").hidden = true;
}

/** Show the models, and the first one's fields. */
async function load() {
  try {
    [{ models }] = await call("info");
    stored($("key").value);
    tell(null);
    $("model").replaceChildren(...models.map((each) => make("option", { value: each.id }, each.id)));
    $("model-row").hidden = $("run").hidden = false;
    choose();
  } catch (error) {
    empty("Nothing was asked yet.");
    tell(error);
  }
}

/** The form of the chosen model; what was typed into a field of the same name stays. */
function choose() {
  const model = models.find((each) => each.id === $("model").value);
  const typed = values();
  const [name, does] = OF_KIND[model.kind];
  way = WAYS[name];
  asked += 1;
  $("run").disabled = false;
  tell(null);
  empty("Nothing was asked yet.");
  $("about").textContent = `This model ${does}; it reads up to ${model.max_input_length} tokens` +
    (model.labels?.length ? `; labels: ${model.labels.join(", ")}` : "");
  $("cut-row").hidden = name === "ner"; // reads texts of any length
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
  const mine = asked += 1;
  const given = values();
  const [path, body] = way.ask(given, $("model").value);
  if ($("cut").checked && !$("cut-row").hidden) body.truncate = true;
  const { show } = way;
  $("run").disabled = true;
  tell(null);
  empty("computing …");
  const start = performance.now();
  try {
    const [answer, told] = await call(path, body);
    if (mine !== asked) return;
    $("result").replaceChildren(...show(answer, given));
    times(told, performance.now() - start);
  } catch (error) {
    if (mine !== asked) return;
    empty();
    tell(error);
  }
  $("run").disabled = false;
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
document.addEventListener("reachable", () => { // said by live.js
  if (!lost) return;
  lost = false;
  if (models.length) tell(null);
  else load();
});
$("key").value = stored();
if ($("key").value) locked();
load();
