"""Which permission of IAM each request to DynamoDB needs, and who makes which requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping

ACTIONS: Mapping[str, str] = {
    "batch_write_item": "dynamodb:BatchWriteItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "describe_table": "dynamodb:DescribeTable",
    "create_table": "dynamodb:CreateTable",
    "update_table": "dynamodb:UpdateTable",
    "describe_continuous_backups": "dynamodb:DescribeContinuousBackups",
    "update_continuous_backups": "dynamodb:UpdateContinuousBackups",
}

WRITES = ("batch_write_item", "describe_table")
READS = ("scan", "describe_table")
READS_INDEX = ("query",)
SETS_UP = ("describe_table", "create_table", "update_table", "describe_continuous_backups", "update_continuous_backups")
