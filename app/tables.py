"""Every table, imported so that the metadata is whole: for migrations and for the test that compares both."""

from sqlmodel import SQLModel

__all__ = ["metadata"]

metadata = SQLModel.metadata
