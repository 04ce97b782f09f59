"""The rows of a study, and the shard of its videos that one process generates."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pos.data.pools.pool import Pool
from pos.errors import PosError
from pos.method import Method
from pos.pipeline import Pipeline
from pos.spr.rewriting import Rewriter


@dataclass(frozen=True)
class Row:
    """One row of a table: its method, and where it differs from the pipeline that the rows share.

    Args:
        label: of the row in tables.
        method: what is done to noise and text.
        guidance: None takes the study's.
        pool_size: retrieve among so many pairs, the first of the pool; None takes all.
        references: k of Eq. 6, 0 for a rewriter without references; None takes the rewriter's.
        rewriter: None takes the study's.
        pool: None takes the study's.
        against: key of a row that this one is compared with too, beside the first.
    """

    label: str
    method: Method
    guidance: float | None = None
    pool_size: int | None = None
    references: int | None = None
    rewriter: Rewriter | None = None
    pool: Pool | None = None
    against: str | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that the row needs from the shared pipeline."""
        return tuple(name for name in self.method.parts if name != "rewriter" or self.rewriter is None)

    def pipeline(self, shared: Pipeline) -> Pipeline:
        """The shared pipeline with what this row changes.

        Raises:
            PosError: a part that the method needs is missing, or the pool is smaller than the row needs.
        """
        retriever, rewriter = shared.retriever, self.rewriter or shared.rewriter
        if retriever is not None and self.pool is not None:
            retriever = retriever.searching(self.pool)
        if self.method.needs_pool and retriever is not None and self.pool_size is not None:
            retriever = retriever.within(self.pool_size)
        if self.method.rewrites and rewriter is not None:
            if self.references is not None:
                rewriter = rewriter.referring(self.references)
            if retriever is not None and rewriter.references > len(retriever.pool):
                raise PosError(
                    f"{rewriter.references} references cannot be retrieved from a pool of "
                    f"{len(retriever.pool)}: lower rewriter.references, or take a larger pool."
                )
        guidance = shared.guidance if self.guidance is None else self.guidance
        return replace(shared, method=self.method, guidance=guidance, retriever=retriever, rewriter=rewriter)


@dataclass(frozen=True)
class Shard:
    """The part of a study's videos that this process generates, so that several machines fill one folder.

    Args:
        index, count: part ``index`` of ``count``, counted from 0.

    Raises:
        PosError: an index outside 0 to count - 1.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise PosError(
                f"shard {self.index} of {self.count} is not allowed: the index goes from 0 to count - 1."
            )
