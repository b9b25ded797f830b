"""The derivatives of a model and its loss, row by row of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lmjax._src.arrays.structure import Structure
from lmjax._src.layerwise.gram_matrices import gram_matrices
from lmjax._src.layerwise.normal_matrix import Blocks, normal_sums
from lmjax._src.layerwise.normal_plan import NormalPlan, plan_normal
from lmjax._src.objectives.losses.loss import Loss
from lmjax._src.typing import Params, PyTree


class RowDerivatives(NamedTuple):
    """A model and a loss whose curvature in the outputs is S Sᵀ; J stands for the rows √wᵢ Sᵢᵀ
    ∂zᵢ/∂params.

    Everywhere ``inputs`` and ``targets`` have a row for each of n samples, ``outputs`` z are those
    of the model, ``roots`` are √wᵢ, (n,), with further axes for weights of steps, or a scalar, and
    rows of J, (n, outputs per row), are in units of the residuals. A step's weight is the same
    throughout its block of S, so that it makes no difference on which side of S it stands.
    """

    model: Callable[[Params, PyTree], jax.Array]
    loss: Loss
    structure: Structure
    mode: Literal["auto", "forward", "reverse"]  #: of J; auto is the one with fewer passes

    def residuals(self, outputs: jax.Array, targets: jax.Array, roots: jax.Array) -> jax.Array:
        """√wᵢ rᵢ, such that Jᵀ times them is the gradient."""
        return self._rows(jax.vmap(self.loss.pseudo_residuals)(outputs, targets), roots)

    def jacobian(
        self, tree: PyTree, inputs: PyTree, targets: jax.Array, roots: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """The outputs (n, …), J of shape (n, outputs per row, P), and the residuals (n, outputs per
        row).
        """
        outputs = jax.eval_shape(self.model, tree, inputs)
        fewer_params = self.structure.size < outputs.size // outputs.shape[0]
        forward = self.mode == "forward" or (self.mode == "auto" and fewer_params)
        differentiate = self._row_forward if forward else self._row_reverse

        def one_row(
            inputs: PyTree, target: jax.Array, root: jax.Array
        ) -> tuple[jax.Array, jax.Array, jax.Array]:
            output, jacobian = differentiate(tree, inputs, target, root)
            return (
                output,
                jacobian,
                self._times(root, self.loss.pseudo_residuals(output, target)).ravel(),
            )

        return jax.vmap(one_row, in_axes=(0, 0, 0 if roots.ndim else None))(inputs, targets, roots)

    def grams(
        self, tree: PyTree, inputs: PyTree, targets: jax.Array, roots: jax.Array, sums: DTypeLike
    ) -> tuple[jax.Array, list[jax.Array | None]]:
        """The outputs, and J J^T for each leaf of the parameters: see
        :func:`~lmjax._src.layerwise.gram_matrices.gram_matrices`.
        """
        return gram_matrices(
            self._of_leaves,
            jax.tree.leaves(tree),
            inputs,
            self._cotangents_beside,
            _beside(targets, roots),
            sums,
        )

    def normal_plan(self, tree: PyTree, inputs: PyTree, samples: int) -> NormalPlan | None:
        """See :func:`~lmjax._src.layerwise.normal_plan.plan_normal`; ``tree`` and ``inputs`` may
        be shapes.
        """
        if self.mode != "auto":
            return None
        one = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype), inputs)
        leaves = jax.tree.leaves(tree)
        return plan_normal(
            self._of_leaves, leaves, one, jax.eval_shape(self._of_leaves, leaves, one).size, samples
        )

    def normal_sums(
        self,
        plan: NormalPlan,
        tree: PyTree,
        inputs: PyTree,
        targets: jax.Array,
        roots: jax.Array,
        counted: jax.Array | None,
        sums: DTypeLike,
    ) -> tuple[jax.Array, Blocks, jax.Array]:
        """The outputs, the blocks of JᵀJ and the gradient: see
        :func:`~lmjax._src.layerwise.normal_matrix.normal_sums`.
        """

        def residuals(output: jax.Array, beside: tuple[jax.Array, jax.Array]) -> jax.Array:
            target, root = beside
            return self._times(root, self.loss.pseudo_residuals(output, target)).ravel()

        beside, leaves = _beside(targets, roots), jax.tree.leaves(tree)
        return normal_sums(
            plan,
            self._of_leaves,
            leaves,
            inputs,
            self._cotangents_beside,
            beside,
            residuals,
            counted,
            sums,
        )

    def to_rows(
        self, outputs: jax.Array, targets: jax.Array, roots: jax.Array, tangents: jax.Array
    ) -> jax.Array:
        """√wᵢ Sᵢᵀ tangentsᵢ, for tangents of the outputs."""
        return self._rows(jax.vmap(self._root_transposed)(outputs, targets, tangents), roots)

    def from_rows(
        self, outputs: jax.Array, targets: jax.Array, roots: jax.Array, covector: jax.Array
    ) -> jax.Array:
        """√wᵢ Sᵢ covectorᵢ, cotangents of the outputs; the transpose of :meth:`to_rows`."""
        weighted = jax.vmap(self.loss.root_product)(
            outputs, targets, covector.reshape(outputs.shape)
        )
        return self._times_all(roots, weighted)

    def _rows(self, array: jax.Array, roots: jax.Array) -> jax.Array:
        return self._times_all(roots, array).reshape(array.shape[0], -1)

    def _times(self, root: jax.Array, array: jax.Array) -> jax.Array:
        """√w times what belongs to the outputs of one row, and has their shape."""
        return array * (self.loss.spread(root, array) if root.ndim else root)  # type: ignore[attr-defined]

    def _times_all(self, roots: jax.Array, array: jax.Array) -> jax.Array:
        return jax.vmap(self._times, in_axes=(0 if roots.ndim else None, 0))(roots, array)

    def _root_transposed(
        self, output: jax.Array, target: jax.Array, tangent: jax.Array
    ) -> jax.Array:
        return jax.linear_transpose(lambda u: self.loss.root_product(output, target, u), output)(
            tangent
        )[0]

    def _row_reverse(
        self, tree: PyTree, inputs: PyTree, target: jax.Array, root: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        output, pull = jax.vjp(lambda p: self._model_of_one(p, inputs), tree)
        return output, self.structure.flatten_batch(
            jax.vmap(pull)(self._cotangents(output, target, root))[0], 1
        )

    def _row_forward(
        self, tree: PyTree, inputs: PyTree, target: jax.Array, root: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        def outputs(vector: jax.Array) -> tuple[jax.Array, jax.Array]:
            output = self._model_of_one(self.structure.unflatten(vector), inputs)
            return output, output

        jacobian, output = jax.jacfwd(outputs, has_aux=True)(self.structure.flatten(tree))

        def row_of(column: jax.Array) -> jax.Array:
            return self._times(root, self._root_transposed(output, target, column)).ravel()

        return output, jax.vmap(row_of, in_axes=-1, out_axes=-1)(jacobian)

    def _cotangents(self, output: jax.Array, target: jax.Array, root: jax.Array) -> jax.Array:
        """√w S, one cotangent of the outputs for each row of J."""
        basis = jnp.eye(output.size, dtype=output.dtype).reshape(output.size, *output.shape)
        return jax.vmap(
            lambda unit: self._times(root, self.loss.root_product(output, target, unit))
        )(basis)

    def _cotangents_beside(
        self, output: jax.Array, beside: tuple[jax.Array, jax.Array]
    ) -> jax.Array:
        return self._cotangents(output, *beside)

    def _of_leaves(self, leaves: list[jax.Array], inputs: PyTree) -> jax.Array:
        return self._model_of_one(jax.tree.unflatten(self.structure.treedef, leaves), inputs)

    def _model_of_one(self, tree: PyTree, inputs: PyTree) -> jax.Array:
        return self.model(tree, jax.tree.map(lambda leaf: leaf[None], inputs))[0]


def _beside(targets: jax.Array, roots: jax.Array) -> tuple[jax.Array, jax.Array]:
    return targets, roots if roots.ndim else jnp.broadcast_to(roots, (targets.shape[0],))
