"""Request schemas of the latent routes: encode, decode, anomalies, interpolate, sample."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, JsonValue, model_validator

from api.messages.request_schemas import Id, ReadOptions, StrictModel

MAX_ROWS = 10_000
RECORD: dict[str, JsonValue] = {"temperature": 300.2, "pressure": 600.9, "mode": "L"}
Record = Annotated[dict[str, Any], Field(examples=[RECORD])]
Ids = Annotated[list[Id], Field(max_length=MAX_ROWS)]
Rate = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class RecordsBody(ReadOptions):
    """Exactly one of `record`, `records`, `values` (rows in column order) and `item_ids` (stored records)."""

    record: Record | None = None
    records: list[Record] | None = Field(None, min_length=1, max_length=MAX_ROWS)
    values: list[Any] | None = Field(None, min_length=1, max_length=MAX_ROWS, examples=[[[300.2, 600.9, "L"]]])
    item_ids: Ids | None = Field(None, min_length=1)

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"record": RECORD}]})

    @model_validator(mode="after")
    def exactly_one(self) -> RecordsBody:
        if sum(source is not None for source in (self.record, self.records, self.values, self.item_ids)) != 1:
            raise ValueError("expected exactly one of record, records, values and item_ids")
        return self


class AnomaliesBody(RecordsBody):
    """`false_alarm_rate` is the share of training records above the threshold; `quantile` is the share below it."""

    false_alarm_rate: Rate | None = None
    quantile: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None
    columns: int = Field(3, ge=0, le=1000, description="columns to return for each record, largest share first")

    @model_validator(mode="after")
    def one_threshold(self) -> AnomaliesBody:
        if self.false_alarm_rate is not None and self.quantile is not None:
            raise ValueError("expected false_alarm_rate or quantile, not both")
        return self


class VectorsBody(ReadOptions):
    """Exactly one of `vector`, `vectors`, `codes` (of a vqvae) and `item_ids`."""

    vector: list[Any] | None = Field(None, examples=[[0.3, -1.2]])
    vectors: list[Any] | None = Field(None, min_length=1, max_length=MAX_ROWS)
    codes: list[list[int]] | None = Field(None, min_length=1, max_length=MAX_ROWS)
    item_ids: Ids | None = Field(None, min_length=1)

    @model_validator(mode="after")
    def exactly_one(self) -> VectorsBody:
        if sum(source is not None for source in (self.vector, self.vectors, self.codes, self.item_ids)) != 1:
            raise ValueError("expected exactly one of vector, vectors, codes and item_ids")
        return self


class PointBody(StrictModel):
    """Exactly one of `item_id`, `record` and `vector`."""

    item_id: Id | None = None
    record: Record | None = None
    vector: list[Any] | None = None

    @model_validator(mode="after")
    def exactly_one(self) -> PointBody:
        if sum(source is not None for source in (self.item_id, self.record, self.vector)) != 1:
            raise ValueError("expected exactly one of item_id, record and vector")
        return self


class InterpolateBody(ReadOptions):
    start: PointBody
    end: PointBody
    steps: int = Field(5, ge=2, le=1000, description="number of points, ends included")
    nearest: int = Field(1, ge=0, le=100, description="number of nearest items to return at each point")


class SampleBody(ReadOptions):
    n: int = Field(1, ge=1, le=MAX_ROWS)
    seed: int | None = Field(  # the response contains it: orjson writes integers of up to 64 bits
        None, ge=0, lt=2**63, description="the same seed gives the same sample; default: random"
    )
    nearest: int = Field(0, ge=0, le=100, description="number of nearest items to return for each record")
