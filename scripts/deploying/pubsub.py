"""The topic that a bucket's announcements go to, and the subscription that the job reads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.api_core.exceptions import NotFound
from google.iam.v1 import iam_policy_pb2, policy_pb2
from google.pubsub_v1 import types

from .parts import Call, Kept, State
from .plan import Plan, is_ours
from .services import Services

_PUBLISHES = "roles/pubsub.publisher"


@dataclass(frozen=True)
class Topic:
    plan: Plan
    services: Services
    flag = "--topic"

    @property
    def title(self) -> str:
        return f"Pub/Sub topic {self.plan.topic}"

    def look(self) -> State:
        try:
            topic = self.services.publisher.get_topic(topic=self.plan.topic_path)
        except NotFound:
            return State.ABSENT
        return State.OURS if is_ours(self.plan, dict(topic.labels)) else State.FOREIGN

    def creation(self) -> Iterator[Call]:
        topic = types.Topic(name=self.plan.topic_path, labels=self.plan.labels)
        yield Call(
            "pubsub.Publisher.CreateTopic",
            topic,
            lambda: self.services.publisher.create_topic(request=topic),
        )

    def removal(self, *, data: bool) -> Iterator[Call]:
        publisher, path = self.services.publisher, self.plan.topic_path
        others = [
            name
            for name in publisher.list_topic_subscriptions(topic=path)
            if name != self.plan.subscription_path
        ]
        if others:
            raise Kept(f"others subscribe to it: {', '.join(others)}")
        request = types.DeleteTopicRequest(topic=path)
        yield Call(
            "pubsub.Publisher.DeleteTopic",
            request,
            lambda: publisher.delete_topic(request=request),
        )


@dataclass(frozen=True)
class Publishing:
    """The right of Cloud Storage's own account to publish to the topic; it goes with the topic.

    ``gcloud storage buckets notifications create`` gives it, the API does not, and a notification
    without it is refused.
    """

    plan: Plan
    services: Services
    flag = ""

    @property
    def title(self) -> str:
        return f"right of Cloud Storage to publish to {self.plan.topic}"

    def look(self) -> State:
        try:
            policy = self._policy()
        except NotFound:
            return State.ABSENT
        account = self._account()
        given = any(
            binding.role == _PUBLISHES and account in binding.members for binding in policy.bindings
        )
        return State.OURS if given else State.ABSENT

    def creation(self) -> Iterator[Call]:
        said = {
            "resource": self.plan.topic_path,
            "role": _PUBLISHES,
            "member": "serviceAccount: that of storage.projects.serviceAccount.get",
        }
        yield Call("pubsub.IAMPolicy.SetIamPolicy", said, self._give)

    def removal(self, *, data: bool) -> Iterator[Call]:
        yield from ()

    def _give(self) -> None:
        policy = self._policy()  # with its etag: a change of somebody else in between is refused
        policy.bindings.append(policy_pb2.Binding(role=_PUBLISHES, members=[self._account()]))
        request = iam_policy_pb2.SetIamPolicyRequest(resource=self.plan.topic_path, policy=policy)
        self.services.publisher.set_iam_policy(request=request)

    def _policy(self) -> policy_pb2.Policy:
        request = iam_policy_pb2.GetIamPolicyRequest(resource=self.plan.topic_path)
        policy: policy_pb2.Policy = self.services.publisher.get_iam_policy(request=request)
        return policy

    def _account(self) -> str:
        return f"serviceAccount:{self.services.storage.get_service_account_email()}"


@dataclass(frozen=True)
class Subscription:
    plan: Plan
    services: Services
    flag = "--subscription"

    @property
    def title(self) -> str:
        return f"Pub/Sub subscription {self.plan.subscription}"

    def look(self) -> State:
        path = self.plan.subscription_path
        try:
            there = self.services.subscriber.get_subscription(subscription=path)
        except NotFound:
            return State.ABSENT
        ours = is_ours(self.plan, dict(there.labels)) and there.topic == self.plan.topic_path
        return State.OURS if ours else State.FOREIGN

    def creation(self) -> Iterator[Call]:
        subscription = types.Subscription(
            name=self.plan.subscription_path,
            topic=self.plan.topic_path,
            # The longest there is: messages are acknowledged when their batch is committed.
            ack_deadline_seconds=600,
            labels=self.plan.labels,
        )
        yield Call(
            "pubsub.Subscriber.CreateSubscription",
            subscription,
            lambda: self.services.subscriber.create_subscription(request=subscription),
        )

    def removal(self, *, data: bool) -> Iterator[Call]:
        request = types.DeleteSubscriptionRequest(subscription=self.plan.subscription_path)
        yield Call(
            "pubsub.Subscriber.DeleteSubscription",
            request,
            lambda: self.services.subscriber.delete_subscription(request=request),
        )
