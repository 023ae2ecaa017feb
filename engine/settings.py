"""Settings from the environment, parsed once by the entry points and passed on as an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`NEARFIELD_*` variables; every field is also an argument, so tests never touch the environment."""

    model_config = SettingsConfigDict(env_prefix="NEARFIELD_", frozen=True, extra="ignore")

    home: Path = Field(Path(".nearfield"), description="folder of the embedded database, the indexes and checkpoints")
    database_url: SecretStr | None = Field(
        None, description="PostgreSQL 15 or newer with pgvector 0.8; without it, the embedded one"
    )
    api_key: SecretStr | None = Field(None, description="for the command line's own HTTP calls")
    max_body_bytes: int = Field(16 * 1024 * 1024, gt=0, description="of one body; then 413")
    max_bodies_bytes: int = Field(256 * 1024 * 1024, gt=0, description="of all bodies that one worker holds; then 503")
    max_k: int = Field(1000, gt=0, description="items of one answer")
    max_work: int = Field(
        2_000_000_000,
        gt=0,
        description="cost of a read's filters, boosts and shelves, about nanoseconds of a core; then 422",
    )
    max_events: int = Field(10_000, gt=0, description="events of one POST")
    history_limit: int = Field(2000, gt=0, description="newest events of a user that a live vector is made from")
    poll_s: float = Field(
        1.0, gt=0, allow_inf_nan=False, description="how often a server looks for changes; a wake-up only comes sooner"
    )
    device: str = Field("cpu", description="where a server searches: cpu, cuda, cuda:1")
    max_active: int = Field(16, gt=0, description="requests of one worker at once")
    max_waiting: int = Field(256, ge=0, description="requests that wait for their turn; more are answered 429")
    max_wait_s: float = Field(
        0.25,
        gt=0,
        allow_inf_nan=False,
        description="for a turn; in overload a tenth of it, and half as many requests at once; then 503",
    )
    max_body_s: float = Field(30.0, gt=0, allow_inf_nan=False, description="for a body to arrive; then 408")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="what is logged")
    require_keys: bool = Field(
        False, description="answer nobody without a key, even while there is none; set when bound beyond loopback"
    )

    @property
    def generations(self) -> Path:
        return self.home / "generations"

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints"
