"""Which obstore client a scheme, its options and its credentials make."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore.store import AzureStore, GCSStore, S3Store
from obstore.store import ObjectStore as Client

from finetune_api.errors import BadConfiguration, Denied
from finetune_store.addresses import require_open
from finetune_store.storage import StorageOptions

if TYPE_CHECKING:
    from obstore.store import AzureConfig, ClientConfig, GCSConfig, RetryConfig, S3Config, S3Credential

_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_S3_SOURCES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)


def connect(scheme: str, place: str, options: StorageOptions, values: Mapping[str, str] | None) -> Client:
    """A client for `scheme`://`place`, with the credentials folder's `values`; None: the environment's.

    A folder with a certificate authority alone leaves the credentials to the environment too. Raises Denied for an
    endpoint or a proxy at an address that is closed to this process.
    """
    require_open(options.endpoint)
    bucket, _, prefix = place.partition("/")
    ca = values.get("ca") if values else None
    keys = None if values is not None and values.keys() == {"ca"} else values
    makers = {"s3": _s3, "gs": _gcs, "az": _azure}
    return makers[scheme](_Place(bucket, prefix or None, options, ca), keys)


@dataclass(frozen=True)
class _Place:
    bucket: str
    prefix: str | None
    options: StorageOptions
    ca: str | None


def _s3(place: _Place, values: Mapping[str, str] | None) -> Client:
    options = place.options
    endpoint = options.endpoint or next(
        (os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), None
    )
    if values is None and endpoint and not any(os.environ.get(name) for name in _S3_SOURCES):
        raise Denied(
            "CredentialsMissing",
            f"there are no credentials for s3://{place.bucket}",
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment",
            "set both (or AWS_SKIP_SIGNATURE=true for a public bucket)",
        )
    config: S3Config = {"checksum_algorithm": "SHA256", "disable_bulk_delete": True}
    if endpoint:
        config["endpoint"] = endpoint
    if options.region:
        config["region"] = options.region
    # A provider, not fields: those are merged with the environment, whose session token fits other keys.
    provider = None if values is None else _s3_credential(values)
    return S3Store(
        place.bucket,
        prefix=place.prefix,
        config=config,
        client_options=_client_options(endpoint, place.ca),
        retry_config=_retries(options),
        credential_provider=None if provider is None else lambda: provider,
    )


def _gcs(place: _Place, values: Mapping[str, str] | None) -> Client:
    config: GCSConfig = {}
    if values is not None:
        config["service_account_key"] = _required(values, "gcs", "gcs.json")
    if place.options.endpoint:
        config["base_url"] = place.options.endpoint
    return GCSStore(
        place.bucket,
        prefix=place.prefix,
        config=config,
        client_options=_client_options(place.options.endpoint, place.ca),
        retry_config=_retries(place.options),
    )


def _azure(place: _Place, values: Mapping[str, str] | None) -> Client:
    config: AzureConfig = {}
    if values is not None:
        config["account_name"] = _required(values, "azureAccount", "azureAccount")
        secret = "sas" if "sas" in values else "azureKey"
        config["sas_key" if secret == "sas" else "account_key"] = _required(
            values, secret, "azureKey (or sas)"
        )
    if place.options.endpoint:
        config["endpoint"] = place.options.endpoint
    return AzureStore(
        place.bucket,
        prefix=place.prefix,
        config=config,
        client_options=_client_options(place.options.endpoint, place.ca),
        retry_config=_retries(place.options),
    )


def _s3_credential(values: Mapping[str, str]) -> "S3Credential":
    return {
        "access_key_id": _required(values, "accessKeyId", "accessKeyId"),
        "secret_access_key": _required(values, "secretAccessKey", "secretAccessKey"),
        "token": values.get("sessionToken"),
        "expires_at": None,
    }


def _retries(options: StorageOptions) -> "RetryConfig":
    # Quick tries for a dropped connection; `ObjectStore` is the one who is patient, and renews credentials.
    first, longest = min(0.1, options.patience / 20), min(2.0, options.patience / 4)
    return {
        "max_retries": 3,
        "retry_timeout": timedelta(seconds=min(30.0, options.patience)),
        "backoff": {
            "init_backoff": timedelta(seconds=first),
            "max_backoff": timedelta(seconds=longest),
            "base": 2,
        },
    }


def _client_options(endpoint: str | None, ca: str | None) -> "ClientConfig":
    # No limit on a whole request: a checkpoint over a slow link takes its time. A stalled one is noticed.
    options: ClientConfig = {"connect_timeout": "5s", "read_timeout": "60s", "timeout": "2h"}
    if endpoint and endpoint.startswith("http://"):
        options["allow_http"] = True
    if ca:
        options["root_certificate"] = ca
    return options


def _required(values: Mapping[str, str], name: str, key: str) -> str:
    if not values.get(name):
        raise BadConfiguration(
            "CredentialsMissing",
            f"the storage credentials have no `{key}`",
            f"a key `{key}`",
            "complete the secret",
        )
    return values[name]
