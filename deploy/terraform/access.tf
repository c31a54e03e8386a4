# Who may do what. A role for the daemon's pods; readers and trainers attach their policies to roles of their own.

resource "aws_iam_policy" "lake" {
  for_each = toset(["daemon", "reader", "trainer"])

  name   = "${var.bucket}-${each.key}"
  policy = file("${var.policies}/${each.key}.json")
}

data "aws_iam_policy_document" "pods" {
  count = var.oidc_provider_arn == null ? 0 : 1

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [var.oidc_provider_arn]
    }

    condition {
      test     = "StringEquals"
      variable = "${regex("oidc-provider/(.*)$", var.oidc_provider_arn)[0]}:sub"
      values   = ["system:serviceaccount:${var.service_account}"]
    }

    condition {
      test     = "StringEquals"
      variable = "${regex("oidc-provider/(.*)$", var.oidc_provider_arn)[0]}:aud"
      values   = ["sts.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "daemon" {
  count = var.oidc_provider_arn == null ? 0 : 1

  name               = "${var.bucket}-daemon"
  assume_role_policy = data.aws_iam_policy_document.pods[0].json
}

resource "aws_iam_role_policy_attachment" "daemon" {
  count = var.oidc_provider_arn == null ? 0 : 1

  role       = aws_iam_role.daemon[0].name
  policy_arn = aws_iam_policy.lake["daemon"].arn
}
