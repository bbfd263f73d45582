"""Settings, all read from the environment with the prefix `TWIN_`."""

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

__all__ = ["Settings", "settings"]


class Settings(BaseSettings):
    """What a deployment chooses. The description of each field is its documentation in the README."""

    model_config = SettingsConfigDict(env_prefix="TWIN_", frozen=True, extra="ignore")

    home: Path = Field(
        default=Path.home() / ".citytwin",
        description="State folder: private database, inbox, coverages, tokens.",
    )
    city: str = Field(
        default="zaozhuang", description="City profile: a name in twin/cities or the path of a TOML file."
    )
    catalog: Annotated[tuple[Path, ...], NoDecode] = Field(
        default=(),
        description="Further folders of contracts (separated by ':'), read after the built-in catalogue.",
    )
    host: str = Field(default="127.0.0.1", description="Address the HTTP server binds to.")
    port: int = Field(default=8000, ge=1, le=65535, description="Port of the HTTP server.")
    workers: int = Field(default=1, ge=1, le=64, description="Processes that answer HTTP requests.")
    database_url: SecretStr | None = Field(
        default=None,
        description="An existing PostgreSQL + PostGIS server (postgresql://...); unset: a private cluster.",
    )
    oidc_issuer: str | None = Field(
        default=None, description="Identity provider (OpenID Connect) whose tokens are taken beside the twin's own."
    )
    oidc_audience: str = Field(default="citytwin", description="The `aud` that the provider's tokens must have.")
    oidc_roles: str = Field(
        default="roles",
        description="Claim of the provider's tokens that names the audience; dots lead into objects.",
    )
    hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Host names under which it is served (separated by ','), beside addresses and localhost.",
    )
    proxies: str | None = Field(
        default=None, description="Addresses (separated by ',') of proxies whose word on who asks is taken."
    )
    rate_per_minute: int = Field(
        default=6000,
        ge=0,
        description="What one caller may ask for in a minute: a tile is 1, a page 2, a file 20; 0: all.",
    )
    rate_burst: int = Field(default=3000, ge=1, description="And at once.")
    statement_timeout_s: float = Field(
        default=5.0, gt=0, description="Longest time one reading statement may take, in seconds."
    )
    max_upload_mb: int = Field(
        default=2048, ge=1, description="Largest file that may be loaded, unpacked, in megabytes."
    )

    def model_post_init(self, _context: object) -> None:
        """Make the state folder absolute: other processes start elsewhere."""
        object.__setattr__(self, "home", self.home.expanduser().absolute())

    @field_validator("hosts", mode="before")
    @classmethod
    def _named(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("catalog", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(Path(part) for part in value.split(":") if part) if isinstance(value, str) else value


@cache
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
