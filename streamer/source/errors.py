"""aiokafka's exceptions in the words of `streamer.errors`: wait, fix credentials, or change the configuration."""

from __future__ import annotations

import ssl

from aiokafka import errors as kafka_errors

from streamer.errors import Denied, Invalid, StreamerError, Unavailable

_NOT_AUTHENTICATED = (
    kafka_errors.AuthenticationFailedError,
    kafka_errors.SaslAuthenticationFailed,
    kafka_errors.IllegalSaslStateError,
    kafka_errors.AuthenticationMethodNotSupported,
)
_NOT_AUTHORISED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
)
_WRONG = (
    kafka_errors.InvalidSessionTimeoutError,
    kafka_errors.InvalidGroupIdError,
    kafka_errors.InvalidTopicError,
    kafka_errors.InconsistentGroupProtocolError,
    kafka_errors.IncompatibleBrokerVersion,
)


def translate(error: BaseException, doing: str, **context: object) -> StreamerError:
    """The streamer error for what aiokafka, a socket or a deadline raised while `doing` something (a gerund)."""
    if isinstance(error, StreamerError):
        return error
    if isinstance(error.__cause__, StreamerError):
        return error.__cause__  # of our own making, on its way through the client
    reason = str(error) or type(error).__name__
    if isinstance(error, kafka_errors.UnsupportedSaslMechanismError):
        return Invalid(f"{doing}: {reason}", hint="set sasl_mechanism to one that the brokers enable", **context)
    if isinstance(error, _NOT_AUTHENTICATED):
        hint = "check sasl_username and sasl_password; with AWS_MSK_IAM: allow kafka-cluster:Connect to the role"
        return Denied(f"{doing}: Kafka refused the credentials", hint=hint, **context)
    if isinstance(error, _NOT_AUTHORISED):
        return Denied(
            f"{doing}: not authorised ({type(error).__name__}: {reason})",
            hint="grant READ and DESCRIBE on the topics, and READ on the group",
            **context,
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return Denied(
            f"{doing}: the broker's certificate is not trusted: {error.verify_message}",
            hint="set ssl_cafile to the authority that signed it",
            **context,
        )
    if isinstance(error, ssl.SSLError):
        return Denied(
            f"{doing}: TLS failed: {error.reason or reason}",
            hint="check security_protocol and the port, ssl_certfile and ssl_keyfile",
            **context,
        )
    if isinstance(error, _WRONG):
        return Invalid(f"{doing}: {type(error).__name__}: {reason}", hint="change the [kafka] section", **context)
    if isinstance(error, TimeoutError):
        return Unavailable(f"{doing}: no answer in time", hint="is Kafka up and reachable from here?", **context)
    return Unavailable(f"{doing}: {reason}", hint="is Kafka up and reachable from here?", **context)
