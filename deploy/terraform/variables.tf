variable "bucket" {
  description = "The bucket of the lake. Its name is unique among all of S3."
  type        = string
}

variable "prefix" {
  description = "The lake's prefix in the bucket, with a slash at its end; nothing where the bucket is the lake's alone."
  type        = string
  default     = ""

  validation {
    condition     = var.prefix == "" || endswith(var.prefix, "/")
    error_message = "The prefix ends in a slash."
  }
}

variable "kms_key_arn" {
  description = "A key of KMS for the bucket; without one S3 encrypts with its own (SSE-S3)."
  type        = string
  default     = null
}

variable "policies" {
  description = "The folder with daemon.json, reader.json and trainer.json, as `streamer policy ROLE > ROLE.json` prints them."
  type        = string
}

variable "cold_prefixes" {
  description = "Folders below the lake's prefix that nothing of streamer reads again; they go to GLACIER by age (lifecycle.cold)."
  type        = list(string)
  default     = []

  validation {
    condition = alltrue([
      for folder in var.cold_prefixes : !anytrue([
        for needed in ["_streamer/", "state/", "models/", "archive/", "daily-summaries/", "raw/", "ticks/", "ohlcv/", "features/", "signals/", "orderbooks/", "streams/"] :
        startswith(folder, needed) || startswith(needed, folder)
      ])
    ])
    error_message = "A folder that the daemon, verify or an engine at boot reads cannot be moved to GLACIER by its age."
  }
}

variable "oidc_provider_arn" {
  description = "The cluster's OIDC provider, for a role that the pods take (IRSA); none: no role is made, only policies."
  type        = string
  default     = null
}

variable "service_account" {
  description = "namespace:name of the service account in deploy/kubernetes."
  type        = string
  default     = "streamer:streamer"
}

variable "index_tables" {
  description = "DynamoDB tables of indexes, as the configuration names them: AWS_DYNAMODB_PULSE_TABLE, streams.NAME.index.table."
  type        = list(string)
  default     = []
}
