#include "graph/json.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "graph/error.h"
#include "graph/verify.h"

namespace bertpass {
namespace {

using nlohmann::json;

constexpr int kMaxDepth = 100;                 // nesting of lists and objects; MXNet's own files have 5 to 10
constexpr std::uint32_t kMaxOutputs = 1 << 16;  // of one node

[[noreturn]] void fail(const std::string& what) {
  throw GraphError("the symbol is not a usable MXNet graph: " + what + "; export the model again.");
}

json parse_text(const std::string& text) {
  const auto limit_depth = [](int depth, json::parse_event_t, json&) {
    if (depth > kMaxDepth) fail("lists are nested more than " + std::to_string(kMaxDepth) + " deep");
    return true;
  };
  try {
    return json::parse(text, limit_depth);
  } catch (const json::parse_error& error) {
    fail("its JSON ends or breaks at byte " + std::to_string(error.byte));
  } catch (const json::exception& error) {
    fail(std::string("its JSON cannot be read (") + error.what() + ")");
  }
}

const json* field(const json& object, const char* key) {
  const auto it = object.find(key);
  return it == object.end() ? nullptr : &*it;
}

std::uint64_t number(const json& value, std::uint64_t limit, const std::string& what) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() >= limit)
    fail(what + " is " + value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 40) +
         " where a number below " + std::to_string(limit) + " is due");
  return value.get<std::uint64_t>();
}

std::string string_field(const json& object, const char* key, const std::string& where) {
  const json* value = field(object, key);
  if (!value || !value->is_string()) fail(where + " has no text under '" + key + "'");
  return value->get<std::string>();
}

const json& array_field(const json& object, const char* key, const std::string& where) {
  const json* value = field(object, key);
  if (!value || !value->is_array()) fail(where + " has no list '" + std::string(key) + "'");
  return *value;
}

Entry read_entry(const json& value, std::size_t num_nodes, const std::string& where) {
  if (!value.is_array() || value.size() < 2 || value.size() > 3)
    fail(where + " is not a list of a node, an output and a version");
  Entry entry;
  entry.node = number(value[0], num_nodes, where + "'s node");
  entry.output = static_cast<std::uint32_t>(number(value[1], kMaxOutputs, where + "'s output"));
  if (value.size() == 3)
    entry.version = static_cast<std::uint32_t>(
        number(value[2], std::numeric_limits<std::uint32_t>::max(), where + "'s version"));
  return entry;
}

void read_attributes(const json& attributes, const std::string& where, Node& node) {
  if (!attributes.is_object()) fail(where + "'s attributes are not an object");
  for (const auto& [key, value] : attributes.items()) {
    if (!value.is_string()) fail(where + "'s attribute '" + key + "' is not a text");
    if (key.rfind("__ext_", 0) != 0) node.attrs[key] = value.get<std::string>();
  }
}

Node read_node(const json& object, std::size_t position, std::size_t num_nodes) {
  std::string where = "node " + std::to_string(position);
  if (!object.is_object()) fail(where + " is not an object");
  Node node;
  for (const auto& [key, value] : object.items()) {
    if (key == "attrs" || key == "attr" || key == "param") {
      read_attributes(value, where, node);
    } else if (key == "subgraphs") {
      if (!value.is_array()) fail(where + "'s subgraphs are not a list");
      node.subgraphs = value;
    } else if (key == "control_deps") {
      if (!value.is_array()) fail(where + "'s control_deps are not a list");
      for (const json& dep : value) node.control_deps.push_back(number(dep, num_nodes, where + "'s control_deps"));
    } else if (key != "op" && key != "name" && key != "inputs" && key != "backward_source_id") {
      fail(where + " has an unknown field '" + key + "'");
    }
  }
  node.op = string_field(object, "op", where);
  node.name = string_field(object, "name", where);
  if (node.op.empty()) fail(where + " has no operator");
  where += " ('" + node.name + "')";
  for (const json& input : array_field(object, "inputs", where))
    node.inputs.push_back(read_entry(input, num_nodes, "an input of " + where));
  if (node.is_variable() && !node.inputs.empty()) fail(where + " is a variable and has inputs");
  return node;
}

// node_row_ptr says how many outputs each node has: node i has those from row[i] up to row[i + 1].
void read_output_counts(const json& rows, Graph& graph) {
  if (!rows.is_array() || rows.size() != graph.nodes.size() + 1) fail("'node_row_ptr' does not fit the nodes");
  std::uint64_t before = number(rows[0], 1, "'node_row_ptr'");
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::uint64_t after = number(rows[i + 1], before + kMaxOutputs + 1, "'node_row_ptr'");
    if (after <= before) fail("'node_row_ptr' gives node " + std::to_string(i) + " no output");
    graph.nodes[i].num_outputs = static_cast<std::uint32_t>(after - before);
    before = after;
  }
}

// Files without node_row_ptr say of a node's outputs only which ones are used.
void count_used_outputs(Graph& graph) {
  const auto use = [&](const Entry& entry) {
    std::uint32_t& count = graph.nodes[entry.node].num_outputs;
    count = std::max(count, entry.output + 1);
  };
  for (const Node& node : graph.nodes)
    for (const Entry& input : node.inputs) use(input);
  for (const Entry& head : graph.heads) use(head);
}

void check_outputs(const Graph& graph) {
  const auto check = [&](const Entry& entry) {
    const Node& node = graph.nodes[entry.node];
    if (entry.output >= (node.is_variable() ? 1 : node.num_outputs))
      fail("output " + std::to_string(entry.output) + " of node '" + node.name + "' is used and does not exist");
  };
  for (const Node& node : graph.nodes)
    for (const Entry& input : node.inputs) check(input);
  for (const Entry& head : graph.heads) check(head);
}

json entry_json(const Entry& entry) { return json::array({entry.node, entry.output, entry.version}); }

}  // namespace

Graph parse_graph(const std::string& text) {
  const json document = parse_text(text);
  if (!document.is_object()) fail("it is not a JSON object");
  const json& nodes = array_field(document, "nodes", "it");
  Graph graph;
  graph.nodes.reserve(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) graph.nodes.push_back(read_node(nodes[i], i, nodes.size()));
  for (const json& head : array_field(document, "heads", "it"))
    graph.heads.push_back(read_entry(head, nodes.size(), "a head"));
  if (graph.heads.empty()) fail("it has no heads");
  for (const json& position : array_field(document, "arg_nodes", "it"))
    if (!graph.nodes[number(position, nodes.size(), "'arg_nodes'")].is_variable())
      fail("'arg_nodes' names a node that is not a variable");
  for (const char* key : {"attr", "attrs"})
    if (const json* attributes = field(document, key)) {
      if (!attributes->is_object()) fail("the graph's attributes are not an object");
      graph.attrs = *attributes;
    }
  if (const json* rows = field(document, "node_row_ptr"))
    read_output_counts(*rows, graph);
  else
    count_used_outputs(graph);
  check_outputs(graph);
  graph.compact();
  verify_graph(graph);
  return graph;
}

std::string dump_graph(const Graph& graph) {
  nlohmann::ordered_json document;
  auto nodes = nlohmann::ordered_json::array();
  auto arguments = json::array();
  auto rows = json::array({0});
  std::uint64_t row = 0;
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    nlohmann::ordered_json out;
    out["op"] = node.op;
    out["name"] = node.name;
    if (!node.attrs.empty()) out["attrs"] = node.attrs;
    auto inputs = json::array();
    for (const Entry& input : node.inputs) inputs.push_back(entry_json(input));
    out["inputs"] = inputs;
    if (!node.control_deps.empty()) out["control_deps"] = node.control_deps;
    if (!node.subgraphs.is_null()) out["subgraphs"] = node.subgraphs;
    nodes.push_back(std::move(out));
    if (node.is_variable()) arguments.push_back(i);
    rows.push_back(row += node.num_outputs);
  }
  auto heads = json::array();
  for (const Entry& head : graph.heads) heads.push_back(entry_json(head));
  document["nodes"] = std::move(nodes);
  document["arg_nodes"] = std::move(arguments);
  document["node_row_ptr"] = std::move(rows);
  document["heads"] = std::move(heads);
  if (!graph.attrs.is_null()) document["attrs"] = graph.attrs;
  return document.dump(2);
}

}  // namespace bertpass
