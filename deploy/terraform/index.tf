# The tables of indexes (docs/events.md): what `streamer init` makes. A test holds their keys to those of the code.

resource "aws_dynamodb_table" "index" {
  for_each = toset(var.index_tables)

  name         = each.value
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "timestamp"
  range_key    = "ticker"

  attribute {
    name = "timestamp"
    type = "S"
  }

  attribute {
    name = "ticker"
    type = "S"
  }

  global_secondary_index {
    name            = "by-ticker"
    hash_key        = "ticker"
    range_key       = "timestamp"
    projection_type = "ALL"
  }

  point_in_time_recovery {
    enabled = true
  }

  lifecycle {
    prevent_destroy = true
  }
}
