# The bucket of a lake and the policies of those who use it: what `streamer init` makes, for those who keep it in Terraform.
# Use one of the two. A test holds these rules to those of `streamer init`; policies come from `streamer policy`:
#
#   for role in daemon reader trainer; do streamer policy $role > policies/$role.json; done
#   terraform apply -var bucket=microstream-data -var policies=policies

resource "aws_s3_bucket" "lake" {
  bucket = var.bucket

  lifecycle {
    prevent_destroy = true
  }
}

resource "aws_s3_bucket_public_access_block" "lake" {
  bucket = aws_s3_bucket.lake.id

  block_public_acls       = true
  ignore_public_acls      = true
  block_public_policy     = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_server_side_encryption_configuration" "lake" {
  bucket = aws_s3_bucket.lake.id

  rule {
    bucket_key_enabled = var.kms_key_arn != null

    apply_server_side_encryption_by_default {
      sse_algorithm     = var.kms_key_arn == null ? "AES256" : "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

resource "aws_s3_bucket_versioning" "lake" {
  bucket = aws_s3_bucket.lake.id

  versioning_configuration {
    status = "Enabled"
  }
}

# Requests over plain HTTP are refused.
resource "aws_s3_bucket_policy" "tls" {
  bucket = aws_s3_bucket.lake.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyTls"
      Effect    = "Deny"
      Principal = "*"
      Action    = "s3:*"
      Resource  = [aws_s3_bucket.lake.arn, "${aws_s3_bucket.lake.arn}/*"]
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })

  depends_on = [aws_s3_bucket_public_access_block.lake]
}

locals {
  data_folders = ["raw/", "dead-letters/", "ticks/", "ohlcv/", "features/", "signals/", "orderbooks/", "streams/"]
  busy_folders = ["_streamer/", "state/"]
}

resource "aws_s3_bucket_lifecycle_configuration" "lake" {
  bucket     = aws_s3_bucket.lake.id
  depends_on = [aws_s3_bucket_versioning.lake]

  dynamic "rule" {
    for_each = local.data_folders
    content {
      id     = "streamer:${var.prefix}:${rule.value}infrequent"
      status = "Enabled"

      filter {
        prefix = "${var.prefix}${rule.value}"
      }

      transition {
        days          = 30
        storage_class = "STANDARD_IA"
      }
    }
  }

  # Only files whose day is certified have the tag. By age alone GLACIER would take what a day's close still has to read.
  rule {
    id     = "streamer:${var.prefix}:raw/certified"
    status = "Enabled"

    filter {
      and {
        prefix = "${var.prefix}raw/"
        tags   = { streamer = "certified" }
      }
    }

    transition {
      days          = 90
      storage_class = "GLACIER"
    }

    transition {
      days          = 365
      storage_class = "DEEP_ARCHIVE"
    }
  }

  dynamic "rule" {
    for_each = var.cold_prefixes
    content {
      id     = "streamer:${var.prefix}:${rule.value}cold"
      status = "Enabled"

      filter {
        prefix = "${var.prefix}${rule.value}"
      }

      transition {
        days          = 90
        storage_class = "GLACIER"
      }

      transition {
        days          = 365
        storage_class = "DEEP_ARCHIVE"
      }
    }
  }

  rule {
    id     = "streamer:${var.prefix}:cache/expires"
    status = "Enabled"

    filter {
      prefix = "${var.prefix}cache/"
    }

    expiration {
      days = 7
    }
  }

  dynamic "rule" {
    for_each = local.busy_folders
    content {
      id     = "streamer:${var.prefix}:${rule.value}versions"
      status = "Enabled"

      filter {
        prefix = "${var.prefix}${rule.value}"
      }

      noncurrent_version_expiration {
        noncurrent_days = 1
      }
    }
  }

  rule {
    id     = "streamer:${var.prefix}:versions"
    status = "Enabled"

    filter {
      prefix = var.prefix
    }

    expiration {
      expired_object_delete_marker = true
    }

    noncurrent_version_expiration {
      noncurrent_days = 30
    }
  }

  rule {
    id     = "streamer:${var.prefix}:uploads"
    status = "Enabled"

    filter {
      prefix = var.prefix
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
}
