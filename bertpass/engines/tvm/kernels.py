"""The kernels of the TVM engine: tensor expressions of fixed shapes, each with a schedule of its own.

"Fast math" are the approximations of :meth:`Kernels.exponential` and :meth:`Kernels.gelu`, a few float32 roundings from
the exact functions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

LOWEST = -87.0  # exp of less is no normal float32
MOST_BYTES = 1024  # of an array that TVM puts on the stack, where LLVM can promote it to registers


class Kernels:
    """Makes kernels for a processor whose vectors have ``lanes`` floats.

    A tile of a matrix product is ``tile`` x ``columns`` sums, which stay in registers; arrays of more than
    :data:`MOST_BYTES` TVM would take from its workspace. Keywords of a kernel are its schedule, which changes its speed
    alone; see :mod:`bertpass.engines.tvm.records`.
    """

    def __init__(self, tvm: Any, lanes: int) -> None:
        self.lanes, self.columns, self.tile = lanes, 2 * lanes, 8 if lanes == 16 else 4
        self._tvm, self._te, self._tir = tvm, tvm.te, tvm.tirx

    # Functions of one number

    def exponential(self, x: Any) -> Any:
        """exp by a power of two and a polynomial (constants: expf of Moshier's Cephes); below LOWEST as at LOWEST."""
        tir, f = self._tir, self._float
        x = tir.max(tir.min(x, f(88.0)), f(LOWEST))
        power = tir.floor(x * f(1.44269504) + f(0.5))
        rest = x - power * f(0.693359375) + power * f(2.12194440e-4)
        p = f(1.9875691500e-4)
        for c in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1):
            p = p * rest + f(c)
        bits = (tir.Cast("int32", power) + 127) << 23
        return (p * rest * rest + rest + f(1.0)) * tir.reinterpret("float32", bits)

    def gelu(self, x: Any) -> Any:
        """x times the normal distribution's function, by erfc of Abramowitz and Stegun, 7.1.26 (error 1.5e-7)."""
        tir, f = self._tir, self._float
        z = tir.abs(x) * f(0.70710678)
        t = f(1.0) / (z * f(0.3275911) + f(1.0))
        p = f(1.061405429)
        for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
            p = p * t + f(c)
        tail = f(0.5) * x * p * t * self.exponential(f(0.0) - z * z)
        return tir.Select(x < f(0.0), tail, x - tail)

    def tanh(self, x: Any) -> Any:
        """1 - 2 / (exp(2 x) + 1)."""
        f = self._float
        return f(1.0) - f(2.0) / (self.exponential(x + x) + f(1.0))

    def gelu_tanh(self, x: Any) -> Any:
        """GELU's approximation by tanh."""
        f = self._float
        return f(0.5) * x * (f(1.0) + self.tanh(f(0.79788456) * (x + f(0.044715) * x * x * x)))

    def _float(self, value: float) -> Any:
        return self._tir.const(value, "float32")

    def _activation(self, name: str) -> Callable[[Any], Any]:
        return {"none": lambda x: x, "relu": lambda x: self._tir.max(x, self._float(0.0)), "gelu": self.gelu,
                "tanh": self.tanh, "gelu_tanh": self.gelu_tanh}[name]

    # Kernels: functions of tensors, the last argument is the output

    def dense(self, shape: Sequence[int], panels: int, activation: str = "none", skip: bool = False, *,
              tile: int = 0, chunk: int = 0) -> Any:
        """activation(x W + bias) [+ skip]: (rows, panels x columns), and so is skip.

        x has ``shape`` (rows, depth), or (batch, sequence, heads, size), which lies the same in memory; W is packed as
        (panels, depth, columns). Schedule: ``tile`` rows at once; every panel passes over ``chunk`` rows before any
        passes over the next ones. Both divide the rows, ``tile`` also ``chunk``; 0 are the most that fit a tile, and
        all rows.
        """
        te, columns, act = self._te, self.columns, self._activation(activation)
        flat = len(shape) == 2
        rows, depth = shape if flat else (shape[0] * shape[1], shape[2] * shape[3])
        x = te.placeholder(shape, name="x")
        weight = te.placeholder((panels, depth, columns), name="weight")
        bias = te.placeholder((panels * columns,), name="bias")
        skipped = [te.placeholder((rows, panels * columns), name="skip")] if skip else []
        k = te.reduce_axis((0, depth), name="k")

        def at(m: Any, d: Any) -> Any:
            return x[m, d] if flat else x[m // shape[1], m % shape[1], d // shape[3], d % shape[3]]

        def finished(m: Any, n: Any) -> Any:
            value = act(product[m, n] + bias[n])
            return value + skipped[0][m, n] if skip else value

        product = te.compute((rows, panels * columns), lambda m, n: te.sum(
            at(m, k) * weight[n // columns, k, n % columns], axis=k), name="product")
        out = te.compute((rows, panels * columns), finished, name="out")
        plan = _Plan(self._tvm, self.lanes, [x, weight, bias, *skipped, out])
        m, n = plan.loops("out")
        chunk = chunk or rows
        tile = tile or next(size for size in range(self.tile, 0, -1) if chunk % size == 0)
        (chunks, part), (panel, column) = plan.split(m, chunk), plan.split(n, columns)
        block, row = plan.split(part, tile)
        plan.order(chunks, panel, block, row, column)
        plan.vectors(column)
        plan.inside("product", block)
        plan.sums("product", registers=True)
        return plan.kernel(parallel=[chunks, panel])

    def norm(self, rows: int, units: int, epsilon: float) -> Any:
        """Layer normalisation of each row of x (rows, units) with gamma and beta."""
        x = self._te.placeholder((rows, units), name="x")
        return self._normalised([x], x, epsilon)

    def embed(self, batch: int, length: int, padded: int, tables: Sequence[int], units: int, epsilon: float) -> Any:
        """The normalised sum of the embeddings of ids and types, (batch, length) each: (batch x padded, units).

        ``tables`` are the rows of words, token types (1: the row is added to every token) and positions. Tokens from
        ``length`` to ``padded`` repeat the last one; nothing may look at them.
        """
        te = self._te
        ids, types = (te.placeholder((batch, length), name=name, dtype="int32") for name in ("ids", "types"))
        words, kinds, places = (te.placeholder((rows, units), name=name)
                                for rows, name in zip(tables, ("words", "kinds", "places"), strict=True))

        def summed(m: Any, n: Any) -> Any:
            row, place = m // padded, self._tir.min(m % padded, length - 1)
            kind = types[row, place] if tables[1] > 1 else 0
            return words[ids[row, place], n] + kinds[kind, n] + places[place, n]

        total = te.compute((batch * padded, units), summed, name="summed")
        return self._normalised([ids, types, words, kinds, places], total, epsilon)

    def _normalised(self, inputs: Sequence[Any], x: Any, epsilon: float) -> Any:
        te, lanes, f = self._te, self.lanes, self._float
        rows, units = (int(size) for size in x.shape)
        gamma, beta = (te.placeholder((units,), name=name) for name in ("gamma", "beta"))

        def over(value: Callable[[Any, Any], Any], name: str) -> Any:
            """The sum of each row, at first one for each lane."""
            k, v = te.reduce_axis((0, units // lanes), name="k"), te.reduce_axis((0, lanes), name="v")
            parts = te.compute((rows, lanes), lambda m, lane: te.sum(value(m, k * lanes + lane), axis=k),
                               name=f"{name}_parts")
            return te.compute((rows,), lambda m: te.sum(parts[m, v], axis=v), name=name)

        total = over(lambda m, n: x[m, n], "total")

        def centred(m: Any, n: Any) -> Any:
            return x[m, n] - total[m] * f(1 / units)

        power = over(lambda m, n: centred(m, n) * centred(m, n), "power")
        out = te.compute((rows, units), lambda m, n: centred(m, n) * self._tir.rsqrt(
            power[m] * f(1 / units) + f(epsilon)) * gamma[n] + beta[n], name="out")
        plan = _Plan(self._tvm, lanes, [*inputs, gamma, beta, out])
        m, n = plan.loops("out")
        plan.vectors(n)
        for stage in ("power", "power_parts", "total", "total_parts"):
            plan.inside(stage, m)
        plan.sums("power_parts")
        plan.sums("total_parts")
        if x not in inputs:
            plan.inside("summed", m)
            plan.vectors(plan.loops("summed")[-1])
        return plan.kernel(parallel=[m])

    def attention(self, batch: int, padded: int, heads: int, size: int, *, tile: int = 0, width: int = 0) -> Any:
        """softmax(Q K^T / sqrt(size)) V over the first ``lengths`` keys: (batch, padded, heads, size).

        Its input is (batch x padded, 3 x heads x size): queries, keys, values, each head by head. Schedule: ``tile``
        queries at once, and ``width`` columns of what they mix, a part of ``size``; 0 are those of a matrix product.
        """
        te, tir, f, lanes = self._te, self._tir, self._float, self.lanes
        units, scale = heads * size, size ** -0.5
        qkv = te.placeholder((batch * padded, 3 * units), name="qkv")
        lengths = te.placeholder((batch,), name="lengths", dtype="int32")
        square = (batch, heads, padded, padded)

        def part(number: int, b: Any, h: Any, i: Any, d: Any) -> Any:
            return qkv[b * padded + i, number * units + h * size + d]

        d, j = te.reduce_axis((0, size), name="d"), te.reduce_axis((0, padded), name="j")
        keys = te.compute((batch, heads, size, padded), lambda b, h, c, i: part(1, b, h, i, c), name="keys")
        scores = te.compute(square, lambda b, h, i, k: te.sum(part(0, b, h, i, d) * keys[b, h, d, k], axis=d),
                            name="scores")
        inside = te.compute(square, lambda b, h, i, k: tir.Select(
            k < lengths[b], scores[b, h, i, k] * f(scale), f(10 * LOWEST)), name="inside")

        def over(value: Callable[..., Any], reduce: Any, name: str) -> Any:
            k, v = te.reduce_axis((0, padded // lanes), name="k"), te.reduce_axis((0, lanes), name="v")
            parts = te.compute((batch, heads, padded, lanes), lambda b, h, i, lane: reduce(
                value(b, h, i, k * lanes + lane), axis=k), name=f"{name}_parts")
            return te.compute((batch, heads, padded), lambda b, h, i: reduce(parts[b, h, i, v], axis=v), name=name)

        largest = over(lambda b, h, i, k: inside[b, h, i, k], te.max, "largest")
        powers = te.compute(square, lambda b, h, i, k: tir.Select(k < lengths[b], self.exponential(
            inside[b, h, i, k] - largest[b, h, i]), f(0.0)), name="powers")
        total = over(lambda b, h, i, k: powers[b, h, i, k], te.sum, "total")
        mixed = te.compute((batch, heads, padded, size), lambda b, h, i, c: te.sum(
            powers[b, h, i, j] * part(2, b, h, j, c), axis=j), name="mixed")
        out = te.compute((batch, padded, heads, size), lambda b, i, h, c: mixed[b, h, i, c] / total[b, h, i],
                         name="out")
        plan = _Plan(self._tvm, lanes, [qkv, lengths, out])
        b, i, h, c = plan.loops("out")
        (block, row) = plan.split(i, tile or self.tile)
        (part_of_size, column) = plan.split(c, width or (self.columns if size % self.columns == 0 else lanes))
        plan.order(b, h, block, part_of_size, row, column)
        plan.vectors(column)
        plan.inside("mixed", part_of_size)
        plan.sums("mixed", registers=True)
        for stage in ("total", "total_parts", "powers", "largest", "largest_parts", "inside"):
            plan.inside(stage, block)
        *_, row, k = plan.loops("inside")
        vectors, lane = plan.split(k, lanes)
        plan.order(vectors, row, lane)
        plan.vectors(lane)
        plan.inside("scores", vectors)
        plan.sums("scores", registers=True)
        plan.vectors(plan.loops("powers")[-1])
        plan.sums("largest_parts")
        plan.sums("total_parts")
        plan.inside("keys", h)
        plan.vectors(plan.loops("keys")[-1])
        return plan.kernel(parallel=[b, h])

    def zeroed(self, batch: int, length: int, padded: int, units: int) -> Any:
        """(batch x padded, units) -> (batch, length, units) with zeros from ``lengths`` on."""
        te = self._te
        x = te.placeholder((batch * padded, units), name="x")
        lengths = te.placeholder((batch,), name="lengths", dtype="int32")
        out = te.compute((batch, length, units), lambda b, i, n: self._tir.Select(
            i < lengths[b], x[b * padded + i, n], self._float(0.0)), name="out")
        plan = _Plan(self._tvm, self.lanes, [x, lengths, out])
        plan.vectors(plan.loops("out")[-1])
        return plan.kernel(parallel=plan.loops("out")[:2])

    def first(self, batch: int, length: int, units: int) -> Any:
        """The first token's state: (batch, length, units) -> (batch, units)."""
        x = self._te.placeholder((batch, length, units), name="x")
        return self._plain([x], self._te.compute((batch, units), lambda b, n: x[b, 0, n], name="out"))

    def cut(self, rows: int, columns: int, width: int) -> Any:
        """The first ``width`` columns: (rows, columns) -> (rows, width)."""
        x = self._te.placeholder((rows, columns), name="x")
        return self._plain([x], self._te.compute((rows, width), lambda m, n: x[m, n], name="out"))

    def mean(self, batch: int, length: int, units: int) -> Any:
        """The mean over the first ``lengths`` tokens of zeroed states: (batch, length, units) -> (batch, units)."""
        te = self._te
        x = te.placeholder((batch, length, units), name="x")
        lengths = te.placeholder((batch,), name="lengths", dtype="int32")
        k = te.reduce_axis((0, length), name="k")
        total = te.compute((batch, units), lambda b, n: te.sum(x[b, k, n], axis=k), name="total")
        return self._plain([x, lengths], te.compute((batch, units), lambda b, n: total[b, n] / self._tir.Cast(
            "float32", lengths[b]), name="out"))

    def unit_length(self, batch: int, units: int) -> Any:
        """Each row divided by its Euclidean length, or by 1e-12 where that is more."""
        te, tir = self._te, self._tir
        x, k = te.placeholder((batch, units), name="x"), te.reduce_axis((0, units), name="k")
        power = te.compute((batch,), lambda b: te.sum(x[b, k] * x[b, k], axis=k), name="power")
        return self._plain([x], te.compute((batch, units), lambda b, n: x[b, n] / tir.max(
            tir.sqrt(power[b]), self._float(1e-12)), name="out"))

    def _plain(self, inputs: Sequence[Any], out: Any) -> Any:
        """Small ones, as they are."""
        return _Plan(self._tvm, self.lanes, [*inputs, out]).kernel(parallel=[])


class _Plan:
    """A schedule in this module's words; stages go by the names of their tensors."""

    def __init__(self, tvm: Any, lanes: int, tensors: Sequence[Any]) -> None:
        self._schedule = tvm.s_tir.Schedule(tvm.te.create_prim_func(list(tensors)))
        self._lanes = lanes
        self._sums: list[tuple[Any, Any, bool]] = []

    def loops(self, stage: str) -> list[Any]:
        return list(self._schedule.get_loops(self._schedule.get_sblock(stage)))

    def split(self, loop: Any, size: int) -> tuple[Any, Any]:
        outer, inner = self._schedule.split(loop, [None, size])
        return outer, inner

    def order(self, *loops: Any) -> None:
        self._schedule.reorder(*loops)

    def vectors(self, loop: Any) -> None:
        """Compute so many elements at once as a vector has."""
        self._schedule.vectorize(self.split(loop, self._lanes)[1])

    def inside(self, stage: str, loop: Any) -> None:
        """Compute a stage within a loop of what reads it, as much as is read there."""
        self._schedule.compute_at(self._schedule.get_sblock(stage), loop, preserve_unit_loops=True)

    def sums(self, stage: str, registers: bool = False) -> None:
        """Reduce a stage whose last loops are row, column and what is reduced; with ``registers`` all sums at once."""
        schedule, block = self._schedule, self._schedule.get_sblock(stage)
        *_, row, column, reduced = self.loops(stage)
        outer, lane = self.split(column, self._lanes)
        if registers:
            schedule.reorder(reduced, row, outer, lane)
            schedule.set_scope(block, 0, "local")
        else:
            schedule.reorder(reduced, outer, lane)
        self._unrolled(row, outer, lane, registers)
        self._sums.append((block, reduced, registers))

    def _unrolled(self, row: Any, outer: Any, lane: Any, registers: bool) -> None:
        self._schedule.vectorize(lane)
        self._schedule.unroll(outer)
        if registers:
            self._schedule.unroll(row)

    def kernel(self, parallel: Sequence[Any]) -> Any:
        """The function, with these loops, outermost ones, divided among the threads."""
        if parallel:
            self._schedule.parallel(self._schedule.fuse(*parallel) if len(parallel) > 1 else parallel[0])
        for block, reduced, registers in self._sums:  # last: what has no initial value cannot be scheduled any more
            zeros = self._schedule.decompose_reduction(block, reduced)
            *_, row, outer, lane = self._schedule.get_loops(zeros)
            self._unrolled(row, outer, lane, registers)
        return self._schedule.mod["main"].without_attr("global_symbol")
