// What must hold of a graph before and after every pass.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "graph/attributes.h"
#include "graph/graph.h"

namespace bertpass {

using ParameterShapes = std::map<std::string, Shape>;

// Throws GraphError with the first fault found: an input that no earlier node defines, an output that its node does not
// have, a node that no head needs, two variables of one name, no head at all.
void verify_graph(const Graph& graph);

// What a caller binds by: a pass may change everything but this. The name of each head and the output it takes.
std::vector<std::string> head_names(const Graph& graph);

// Throws GraphError where the heads are not those of `before`.
void verify_heads(const std::vector<std::string>& before, const Graph& graph);

// Throws GraphError where a parameter is missing or has a shape that its place in the graph does not allow. A variable
// is a parameter, not an input, if Gluon says so (it writes __shape__ or __lr_mult__ for parameters only) or if it
// feeds a place that takes weights: inputs 1 and 2 of FullyConnected and LayerNorm, input 1 of Embedding. Zeros in
// __shape__ stand for sizes unknown at the time of export.
void verify_parameters(const Graph& graph, const ParameterShapes& shapes);

}  // namespace bertpass
