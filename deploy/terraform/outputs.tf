output "lake_url" {
  description = "For S3_BUCKET_NAME or lake.url."
  value       = "s3://${aws_s3_bucket.lake.id}/${var.prefix}"
}

output "role_arn" {
  description = "For the annotation of the service account in deploy/kubernetes; null without an OIDC provider."
  value       = try(aws_iam_role.daemon[0].arn, null)
}

output "policy_arns" {
  description = "By role."
  value       = { for name, policy in aws_iam_policy.lake : name => policy.arn }
}
