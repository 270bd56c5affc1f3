// Node attributes are texts as Python prints them; these read them and give nothing for what is not of the kind asked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "graph/graph.h"

namespace bertpass {

using Shape = std::vector<std::int64_t>;

// "12", "-1". Nothing for numbers that int64 does not hold.
std::optional<std::int64_t> parse_integer(const std::string& text);

// "1e-12", "0.5", whatever the process's locale. Nothing for infinity, NaN and what is no number alone.
std::optional<double> parse_real(const std::string& text);

// "(1, -1)", "[2,3]", "(4,)", "()" or a bare number.
std::optional<Shape> parse_shape(const std::string& text);

std::string format_shape(const Shape& shape);  // as Python prints a tuple

// The attribute's text; `fallback`, the operator's default, where the node has none.
std::string text_attribute(const Node& node, const std::string& key, const std::string& fallback);

std::optional<std::int64_t> integer_attribute(const Node& node, const std::string& key);

// The attribute as a number, `fallback` where the node has none; nothing where it is no number.
std::optional<double> real_attribute(const Node& node, const std::string& key, double fallback);

// True for "True", "true" and "1", false for "False", "false" and "0", nothing for any other text.
std::optional<bool> flag_attribute(const Node& node, const std::string& key, bool fallback);

}  // namespace bertpass
