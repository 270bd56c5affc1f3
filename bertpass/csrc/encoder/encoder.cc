#include "encoder/encoder.h"

#include <algorithm>
#include <cstring>

namespace bertpass::native {
namespace {

// Tokens that go through a layer together. With second levels of 2 MiB BERT-base took 92, 84, 78 and 80 ms of (8, 128)
// in bfloat16 by 128, 256, 512 and 1024; with 512 KiB 128 to 512 made no difference and 1024 lost up to a fifth. So it
// does not follow from the cache: more reads the weights less often, fewer leave and fetch what lives within a layer.
constexpr Index kGroupTokens = 512;
// Below so many bytes of second level threads take smaller parts, so that one that is held up leaves its last part to
// another. On two cores with 512 KiB each parts of 256 tokens took 3 to 9 % less than parts of 512 in float32, and parts
// of 128 up to 5 % less than those (MiniLM and BERT-base, (8, 128) and (16, 128), float32 and int8), 1 % more at most.
constexpr Index kSmallSecond = 1 << 20, kSmallPart = 128;
// From so many tokens for each thread on, threads take sequences of their own through all layers and wait for nobody:
// where products would share rows anyway (linear.cc), with room for parts that are not equally long.
constexpr Index kApartTokens = 192;

constexpr Index kTokens = 16;  // that a thread embeds at once: one at a time waited for memory line after line

}  // namespace

void Encoder::forward(const Kernels& kernels, const Team& team, const std::int32_t* ids, const std::int32_t* types,
                      const Ragged& ragged, Workspace& work) const {
  const Index threads = team.threads(), tokens = ragged.tokens();
  const bool many = threads > 1 && tokens >= threads * kApartTokens, apart = many && ragged.sequences() >= threads;
  const Index part = kernels.caches.second < kSmallSecond ? kSmallPart : kGroupTokens;
  const Index parts = apart ? threads * ((tokens + threads * part - 1) / (threads * part)) : 1;
  // A part may have half a sequence more than its share at either end. The number of sequences makes no difference
  // here: memory may not grow for a batch that is in no way larger than those before.
  const Index longest = ragged.longest();
  const Index group = std::min(tokens, many ? kGroupTokens + longest : std::max(kGroupTokens, longest));
  Widths widths = layers.shape().widths;
  if (!attention.empty() && attention.front().relative) widths.distances = attention.front().relative->rows;
  const Index narrow = projection ? stride_of(tables.units, sizeof(float)) : 0;  // of rows that are not projected yet
  const auto has_window = [](const AttentionForm& form) { return form.window > 0; };
  const bool window = ragged.keys(0) || std::any_of(attention.begin(), attention.end(), has_window);
  work.shape(kernels, widths, layers.shape().form, layers.shape().types, window, tokens, group, longest, team.threads(),
             many, kTokens * narrow * static_cast<Index>(sizeof(float)));
  // Sequences first to last - 1 through all layers.
  const auto through = [&](const Team& some, Index first, Index last, const Activations& own) {
    const Index start = ragged.start(first), rows = ragged.start(last) - start;
    const Rows low = own.lowered(layers.layers().front().reads(), 0);
    const double amount = 32.0 * static_cast<double>(rows * widths.units);
    some.loop((rows + kTokens - 1) / kTokens, amount, [&](Index block, int thread) {
      const Index begin = start + block * kTokens, count = std::min(kTokens, start + rows - begin);
      Index at[kTokens], position[kTokens];  // of each token in the caller's arrays, and in its sequence
      for (Index i = 0, s = ragged.sequence(begin); i < count; ++i) {
        while (begin + i >= ragged.start(s + 1)) ++s;
        position[i] = begin + i - ragged.start(s);
        at[i] = ragged.place(s) + position[i];
        if (i < 2) tables.fetch(ids[at[i]]);
      }
      const Rows unprojected{own.scratch + thread * own.scratch_of_a_thread, narrow, Type::float32, nullptr};
      for (Index i = 0; i < count; ++i) {
        if (i + 2 < count) tables.fetch(ids[at[i + 2]]);
        const Index row = begin + i;
        const Rows to = projection ? unprojected : own.stream;
        const Index place = projection ? i : row;
        tables.sum(kernels, ids[at[i]], position[i], types ? types[at[i]] : 0, to.floats(place));
        embedding_norm.apply(kernels, to, place, to, projection ? Rows{} : low);
      }
      if (projection) project(kernels, unprojected, count, own.stream.from(begin), low.from(begin));
    });
    own.lap(Stage::embedding);
    for (std::size_t number = 0; number < layers.layers().size(); ++number) {
      AttentionForm form = attention.empty() ? AttentionForm{} : attention[number];
      for (Index from = first, to; from < last; from = to) {
        form.keys = ragged.keys(from);
        to = std::min(last, ragged.group_end(from, own.group));
        layers.layers()[number].forward(kernels, some, widths, ragged.offsets(from), to - from, form, own);
      }
    }
    if (last_norm.gamma) {
      last_norm.apply(kernels, some, own.stream.from(start), rows, own.stream.from(start), {});
      own.lap(Stage::norm);
    }
  };
  if (!apart) return through(team, 0, ragged.sequences(), work);
  const Team alone(1);
  const double amount = 1e4 * static_cast<double>(tokens * widths.units);
  team.loop(parts, amount, [&](Index part, int thread) {
    const Index first = ragged.part_start(part, parts);
    through(alone, first, ragged.part_start(part + 1, parts), work.of(thread, ragged.start(first)));
  });
}

void Encoder::project(const Kernels& kernels, const Rows& rows, Index count, const Rows& out, const Rows& low) const {
  projection->apply(kernels, Team(1), rows, count, Activation::none, {}, out);
  if (low.data && low.type == Type::bfloat16)  // the same values, rounded
    projection->apply(kernels, Team(1), rows, count, Activation::none, {}, low);
  else if (low.data)
    quantize(kernels, Team(1), out, count, layers.shape().widths.units, low);
}

void unpack(const Team& team, const Rows& states, const Ragged& ragged, Index units, float* out) {
  const double work = static_cast<double>(ragged.places() * units);
  team.loop(ragged.sequences(), work, [&](Index s, int) {
    float* to = out + ragged.place(s) * units;
    for (Index t = 0; t < ragged.length(s); ++t)
      std::memcpy(to + t * units, states.floats(ragged.start(s) + t), units * sizeof(float));
    std::fill(to + ragged.length(s) * units, to + ragged.room(s) * units, 0.0f);
  });
}

}  // namespace bertpass::native
