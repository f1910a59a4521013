"""The S3 server, for jobs that name a bucket."""

from s3 import s3

__all__ = ["s3"]
