"""Settings from the environment, parsed once by the entry points and passed on as an argument."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """`NEARFIELD_*` variables. Every field is also an argument, so tests do not change the environment."""

    model_config = SettingsConfigDict(env_prefix="NEARFIELD_", frozen=True, extra="ignore")

    home: Path = Field(
        Path(".nearfield"), description="Folder of the embedded database, the index files and the checkpoints."
    )
    database_url: SecretStr | None = Field(
        None, description="URL of a PostgreSQL 15 or newer with pgvector 0.8. Default: the embedded PostgreSQL."
    )
    api_key: SecretStr | None = Field(None, description="API key that commands send with --url.")
    max_body_bytes: int = Field(16 * 1024 * 1024, gt=0, description="Largest body of a request; above it 413.")
    max_bodies_bytes: int = Field(
        256 * 1024 * 1024, gt=0, description="Most memory for all bodies in one worker; above it 503."
    )
    max_k: int = Field(1000, gt=0, description="Largest k of an answer.")
    max_work: int = Field(
        2_000_000_000,
        gt=0,
        description="Largest cost of filters, boosts and shelves of a read, about nanoseconds; above it 422.",
    )
    max_events: int = Field(10_000, gt=0, description="Most events in one POST.")
    history_limit: int = Field(
        2000, gt=0, description="Number of newest events from which a user's vector is computed."
    )
    keep_shelves_days: int = Field(
        7,
        ge=0,
        le=365,
        description="Days for which served shelves are kept, for dry runs, `impressed` and `rotation`; 0: none are.",
    )
    poll_s: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Seconds between two polls of the change feed; notifications usually come first.",
    )
    device: str = Field("cpu", description="Device on which a server searches: cpu, cuda or cuda:1.")
    max_active: int = Field(16, gt=0, description="Most requests that one worker processes at once.")
    max_waiting: int = Field(256, ge=0, description="Most requests that wait in one worker; above it 429.")
    max_wait_s: float = Field(
        0.25,
        gt=0,
        allow_inf_nan=False,
        description="Longest wait of a request; after it 503. During overload a tenth of it.",
    )
    max_body_s: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="Longest time until a body has arrived; after it 408."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level of log messages.")
    require_keys: bool = Field(
        False, description="Refuse requests without a key even if no key exists; always on when bound beyond loopback."
    )

    @property
    def generations(self) -> Path:
        return self.home / "generations"

    @property
    def checkpoints(self) -> Path:
        return self.home / "checkpoints"
