// All layers of an encoder in one piece of memory: what is kept in files and handed from process to process.
//
// A header, the types of every layer's products, then the layers. The layout is the same for every instruction set.
// Begins on a cache line for speed; any address is right.
#pragma once

#include <stdexcept>
#include <vector>

#include "layer/layer.h"

namespace bertpass::native {

struct LayersShape {
  Widths widths;
  Index layers = 0;
  float epsilon = 1e-12f;
  Activation activation = Activation::gelu;
  std::vector<LayerTypes> types;  // of each layer
  bool shared = false;            // every layer is the first one, in memory once; of one type
  LayerForm form = {};
};

// Memory that holds no packed layers; the text is a sentence.
struct PackedError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Whether all layers compute in the types of the first one.
bool of_one_type(const std::vector<LayerTypes>& types);

Index packed_bytes(const LayersShape& shape);

// weights: shape.layers of them. The layers are packed in the threads of the team.
void pack_layers(const Team& team, const LayersShape& shape, const LayerWeights* weights, void* out);

// A view, made in microseconds.
class PackedLayers {
 public:
  PackedLayers() = default;
  // Throws PackedError where the memory is damaged, cut short or of another version.
  PackedLayers(const void* packed, Index bytes);

  const LayersShape& shape() const { return shape_; }
  const std::vector<Layer>& layers() const { return layers_; }

 private:
  LayersShape shape_;
  std::vector<Layer> layers_;
};

}  // namespace bertpass::native
