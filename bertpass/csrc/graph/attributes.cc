#include "graph/attributes.h"

#include <charconv>
#include <cmath>
#include <locale>
#include <sstream>

namespace bertpass {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n'; }

std::string trim(const std::string& text) {
  std::size_t from = 0, to = text.size();
  while (from < to && is_space(text[from])) ++from;
  while (to > from && is_space(text[to - 1])) --to;
  return text.substr(from, to - from);
}

}  // namespace

std::optional<std::int64_t> parse_integer(const std::string& text) {
  const std::string digits = trim(text);
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_real(const std::string& text) {
  std::istringstream stream(trim(text));
  stream.imbue(std::locale::classic());
  double value = 0;
  if (!(stream >> value) || !std::isfinite(value) || stream.peek() != std::istringstream::traits_type::eof())
    return std::nullopt;
  return value;
}

std::optional<Shape> parse_shape(const std::string& text) {
  std::string body = trim(text);
  if (body.empty()) return std::nullopt;
  const char last = body.front() == '(' ? ')' : body.front() == '[' ? ']' : '\0';
  if (last == '\0') {
    if (const auto single = parse_integer(body)) return Shape{*single};
    return std::nullopt;
  }
  if (body.size() < 2 || body.back() != last) return std::nullopt;
  body = trim(body.substr(1, body.size() - 2));
  Shape shape;
  while (!body.empty()) {
    const std::size_t comma = body.find(',');
    const auto value = parse_integer(body.substr(0, comma));
    if (!value) return std::nullopt;
    shape.push_back(*value);
    body = comma == std::string::npos ? "" : trim(body.substr(comma + 1));
  }
  return shape;
}

std::string format_shape(const Shape& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string text_attribute(const Node& node, const std::string& key, const std::string& fallback) {
  const auto it = node.attrs.find(key);
  return it == node.attrs.end() ? fallback : it->second;
}

std::optional<std::int64_t> integer_attribute(const Node& node, const std::string& key) {
  const auto it = node.attrs.find(key);
  return it == node.attrs.end() ? std::nullopt : parse_integer(it->second);
}

std::optional<double> real_attribute(const Node& node, const std::string& key, double fallback) {
  const auto it = node.attrs.find(key);
  return it == node.attrs.end() ? fallback : parse_real(it->second);
}

std::optional<bool> flag_attribute(const Node& node, const std::string& key, bool fallback) {
  const std::string text = text_attribute(node, key, fallback ? "True" : "False");
  if (text == "True" || text == "true" || text == "1") return true;
  if (text == "False" || text == "false" || text == "0") return false;
  return std::nullopt;
}

}  // namespace bertpass
