"""Settings from the environment, parsed once by the entry points and passed on as an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`NEARFIELD_*` variables; every field is also an argument, so tests never touch the environment."""

    model_config = SettingsConfigDict(env_prefix="NEARFIELD_", frozen=True, extra="ignore")

    home: Path = Path(".nearfield")  # embedded database and generations
    database_url: SecretStr | None = None  # PostgreSQL >= 15 with pgvector >= 0.8; None means embedded
    api_key: SecretStr | None = None  # for the command line's own HTTP calls
    max_body_bytes: int = Field(16 * 1024 * 1024, gt=0)
    max_bodies_bytes: int = Field(256 * 1024 * 1024, gt=0)  # of all bodies that one worker holds; then 503
    max_k: int = Field(1000, gt=0)
    max_work: int = Field(2_000_000_000, gt=0)  # of a read's filters, boosts and shelves: about nanoseconds of a core
    max_events: int = Field(10_000, gt=0)  # per POST /events
    history_limit: int = Field(2000, gt=0)  # newest events of a user that a live vector is made from
    poll_s: float = Field(
        1.0, gt=0, allow_inf_nan=False
    )  # how often a server looks for changes; the change log is the truth
    device: str = "cpu"  # where a server searches: cpu, cuda, cuda:1
    max_active: int = Field(16, gt=0)  # requests of one worker at once: some have threads, others need none
    max_waiting: int = Field(256, ge=0)  # for their turn; more are answered 429
    max_wait_s: float = Field(
        0.25, gt=0, allow_inf_nan=False
    )  # for a turn; in overload a tenth, and half as many at once; then 503
    max_body_s: float = Field(30.0, gt=0, allow_inf_nan=False)  # for a body to arrive; then 408
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    require_keys: bool = False  # answer nobody without a key, even while there is none; set when bound beyond loopback

    @property
    def generations(self) -> Path:
        return self.home / "generations"

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints"
