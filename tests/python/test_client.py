"""What a client in another language sees: every answer exactly, errors with their details, and what a kill leaves.

The stubs are generated from proto/ when the tests start. Not here: load, or anything that the Rust tests can see
better from inside.
"""

import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request
from concurrent import futures

import grpc
from google.protobuf import descriptor_pool, timestamp_pb2
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEFINITIONS = ROOT / "tests" / "python" / "definitions"
BINARY = pathlib.Path(os.environ.get("AUGUR_BIN", ROOT / "target" / "debug" / "augur")).resolve()
READY_WITHIN_S = 60
CALL_WITHIN_S = 20

_stubs = tempfile.TemporaryDirectory(prefix="augur-stubs-")
_generate = [
    "protoc",
    f"-I{ROOT / 'proto'}",
    f"-I{pathlib.Path(protoc.__file__).parent / '_proto'}",
    f"--python_out={_stubs.name}",
    f"--grpc_python_out={_stubs.name}",
    *sorted(str(path) for path in (ROOT / "proto" / "augur" / "v1").glob("*.proto")),
]
if protoc.main(_generate) != 0:
    sys.exit("the .proto files do not compile with grpcio-tools")
sys.path.insert(0, _stubs.name)

from augur.v1 import decisions_pb2, decisions_pb2_grpc, events_pb2, events_pb2_grpc  # noqa: E402
from augur.v1 import features_pb2, features_pb2_grpc, log_pb2, log_pb2_grpc  # noqa: E402
from augur.v1 import identity_pb2, identity_pb2_grpc, privacy_pb2, privacy_pb2_grpc  # noqa: E402
from augur.v1 import models_pb2, models_pb2_grpc, outcomes_pb2, outcomes_pb2_grpc  # noqa: E402
from augur.v1 import policies_pb2, policies_pb2_grpc, value_pb2  # noqa: E402


class Server:
    """One `augur serve` at ports that nobody else uses: on the tests' definitions, or on those of a new directory."""

    def __init__(self, data, new_directory=False):
        self.data = pathlib.Path(data)
        ready = self.data.with_suffix(".ready")
        ready.unlink(missing_ok=True)
        environment = {
            **os.environ,
            "AUGUR_SERVER_LISTEN": "127.0.0.1:0",
            "AUGUR_SERVER_HTTP_LISTEN": "127.0.0.1:0",
        }
        command = [BINARY, "serve", "--ready-file", ready]
        if new_directory:
            command += ["--data", self.data]
        else:
            command += ["--config", ROOT / "config" / "augur.toml"]
            environment |= {
                "AUGUR_DATA_DIR": str(self.data),
                "AUGUR_DATA_FEATURES": str(DEFINITIONS / "features.toml"),
                "AUGUR_DATA_POLICY": str(DEFINITIONS / "policy.toml"),
            }
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=self.errors, stderr=self.errors
        )
        told = self.wait_for(ready)
        self.address = told["endpoint"].removeprefix("http://")
        self.http_endpoint = told["http_endpoint"]
        self.channel = grpc.insecure_channel(self.address)
        self.events = events_pb2_grpc.EventServiceStub(self.channel)
        self.features = features_pb2_grpc.FeatureServiceStub(self.channel)
        self.decisions = decisions_pb2_grpc.DecisionServiceStub(self.channel)
        self.identity = identity_pb2_grpc.IdentityServiceStub(self.channel)
        self.privacy = privacy_pb2_grpc.PrivacyServiceStub(self.channel)
        self.log = log_pb2_grpc.LogServiceStub(self.channel)
        self.models = models_pb2_grpc.ModelServiceStub(self.channel)
        self.outcomes = outcomes_pb2_grpc.OutcomeServiceStub(self.channel)
        self.policies = policies_pb2_grpc.PolicyServiceStub(self.channel)

    def wait_for(self, ready):
        """What the ready file says, once it is there."""
        give_up_at = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < give_up_at:
            if ready.exists():
                return json.loads(ready.read_text())
            try:
                self.process.wait(timeout=0.02)
            except subprocess.TimeoutExpired:
                continue
            break
        self.process.kill()
        self.process.wait()
        self.errors.seek(0)
        raise AssertionError(f"the server did not start:\n{self.errors.read().decode()}")

    def stop(self, how=signal.SIGTERM):
        """Ends the server; gives its exit code."""
        self.channel.close()
        self.process.send_signal(how)
        code = self.process.wait(timeout=READY_WITHIN_S)
        self.errors.close()
        return code

    def ingest(self, *events, sent_at=None):
        request = events_pb2.IngestRequest(events=events, sent_at=sent_at)
        return self.events.Ingest(request, timeout=CALL_WITHIN_S).results

    def decide(self, user, point="cart_page", **context):
        request = decisions_pb2.DecideRequest(
            subject=subject(user), decision_point=point, context={name: value(v) for name, v in context.items()}
        )
        return self.decisions.Decide(request, timeout=CALL_WITHIN_S)

    def read(self, user, *names):
        request = features_pb2.GetFeaturesRequest(subject=subject(user), features=names)
        return self.features.GetFeatures(request, timeout=CALL_WITHIN_S)

    def explain(self, decision_id):
        request = decisions_pb2.ExplainRequest(decision_id=decision_id)
        return self.decisions.Explain(request, timeout=CALL_WITHIN_S)

    def http(self, path):
        with urllib.request.urlopen(self.http_endpoint + path, timeout=CALL_WITHIN_S) as answer:
            return answer.status, answer.read().decode()


def value(plain):
    if isinstance(plain, bool):
        return value_pb2.Value(boolean=plain)
    if isinstance(plain, int):
        return value_pb2.Value(integer=plain)
    if isinstance(plain, float):
        return value_pb2.Value(number=plain)
    return value_pb2.Value(text=plain)


def subject(user):
    return value_pb2.Subject(user_id=user)


def event(message_id, user, name, at=None, **properties):
    stamp = None if at is None else timestamp_pb2.Timestamp(seconds=int(at))
    return events_pb2.Event(
        message_id=message_id,
        user_id=user,
        event=name,
        properties={key: value(plain) for key, plain in properties.items()},
        timestamp=stamp,
    )


def outcomes(results):
    return [events_pb2.EventOutcome.Name(result.outcome).removeprefix("EVENT_OUTCOME_") for result in results]


def codes(reasons):
    return [(reason.code, reason.detail) for reason in reasons]


def candidate(decision, action):
    return next(found for found in decision.candidates if found.action == action)


def status(name):
    return features_pb2.FeatureStatus.Value(f"FEATURE_STATUS_{name}")


class ForeignClient(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="augur-python-")
        cls.server = Server(pathlib.Path(cls.directory.name) / "data")

    @classmethod
    def tearDownClass(cls):
        code = cls.server.stop()
        cls.directory.cleanup()
        assert code == 0, f"the server ended with {code} on SIGTERM"

    def refused(self, code, call, *arguments, **named):
        """The error of a call that must fail with `code`, and the violated fields of its details."""
        with self.assertRaises(grpc.RpcError) as caught:
            call(*arguments, **named)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        fields = []
        rich = rpc_status.from_call(caught.exception)
        for detail in rich.details if rich else ():
            violations = error_details_pb2.BadRequest()
            if detail.Unpack(violations):
                fields += [violation.field for violation in violations.field_violations]
        return caught.exception.details(), fields

    # Many decisions in one call

    def test_a_batch_and_a_stream_answer_in_order(self):
        def request(user, point="cart_page"):
            return decisions_pb2.DecideRequest(subject=subject(user), decision_point=point)

        asked = [request("bo"), request("bea", point="nowhere"), request("bix")]
        batch = decisions_pb2.BatchDecideRequest(requests=asked)
        results = self.server.decisions.BatchDecide(batch, timeout=CALL_WITHIN_S).results
        self.assertEqual([result.WhichOneof("answer") for result in results], ["decision", "failure", "decision"])
        self.assertEqual(results[1].failure.code, grpc.StatusCode.NOT_FOUND.value[0])
        stream = (decisions_pb2.DecideStreamRequest(request=one) for one in asked)
        answers = list(self.server.decisions.DecideStream(stream, timeout=CALL_WITHIN_S))
        told = [answer.result.WhichOneof("answer") for answer in answers]
        self.assertEqual(told, ["decision", "failure", "decision"])

    # Outcomes

    def test_outcomes_are_kept_once_each(self):
        decision = self.server.decide("olga", cart_value=60.0).decision_id
        one = outcomes_pb2.Outcome(
            outcome_id="c-1", decision_id=decision, kind=outcomes_pb2.OUTCOME_KIND_VALUE, value=12.5
        )
        wrong = outcomes_pb2.Outcome(outcome_id="c-2", decision_id=decision, kind=outcomes_pb2.OUTCOME_KIND_VALUE)
        stranger = outcomes_pb2.Outcome(
            outcome_id="c-3", decision_id="f" * 32, kind=outcomes_pb2.OUTCOME_KIND_CLICKED
        )
        request = outcomes_pb2.ReportOutcomesRequest(outcomes=[one, one, wrong, stranger])
        results = self.server.outcomes.ReportOutcomes(request, timeout=CALL_WITHIN_S).results
        names = [outcomes_pb2.OutcomeStatus.Name(result.status) for result in results]
        self.assertEqual(
            [name.removeprefix("OUTCOME_STATUS_") for name in names],
            ["ACCEPTED", "DUPLICATE", "REJECTED", "UNKNOWN_DECISION"],
        )
        self.assertEqual((results[2].outcome_id, results[2].field), ("c-2", "value"))
        self.refused(
            grpc.StatusCode.INVALID_ARGUMENT, self.server.outcomes.ReportOutcomes, outcomes_pb2.ReportOutcomesRequest()
        )

    # Events

    def test_each_event_of_a_batch_has_its_own_outcome(self):
        batch = [
            event("o-1", "oda", "Order Completed", value=30),
            event("o-1", "oda", "Order Completed", value=30),
            event("", "oda", "purchase"),
            event("o-2", "oda", "purchase", value=float("nan")),
            event("o-3", "oda", "purchase", at=time.time() + 7200),
            event("o-4", "oda", "pur/chase"),
            events_pb2.Event(message_id="o-5", event="purchase"),
            event("o-6", "oda", "purchase", value=12.5),
        ]
        results = self.server.ingest(*batch)
        self.assertEqual([result.message_id for result in results], [sent.message_id for sent in batch])
        self.assertEqual(
            outcomes(results),
            ["ACCEPTED", "DUPLICATE"] + 5 * ["QUARANTINED"] + ["ACCEPTED"],
        )
        faults = [(events_pb2.QuarantineReason.Name(result.reason), result.field) for result in results[2:7]]
        self.assertEqual(
            faults,
            [
                ("QUARANTINE_REASON_MISSING_FIELD", "message_id"),
                ("QUARANTINE_REASON_INVALID_VALUE", "properties.value"),
                ("QUARANTINE_REASON_TOO_FAR_IN_FUTURE", "timestamp"),
                ("QUARANTINE_REASON_INVALID_NAME", "event"),
                ("QUARANTINE_REASON_MISSING_FIELD", "user_id"),
            ],
        )
        for result in results[2:7]:
            self.assertIn("expected", result.detail)
        read = self.server.read("oda", "purchases_7d", "spend_7d")
        self.assertEqual([feature.value for feature in read.features], [2.0, 42.5])
        self.assertEqual(read.events_applied, 2)

        listed = self.server.events.ListQuarantine(events_pb2.ListQuarantineRequest(), timeout=CALL_WITHIN_S).events
        nameless = []
        for sent in batch[2:6]:
            kept = events_pb2.Event()
            kept.CopyFrom(sent)
            for field in ("message_id", "user_id", "anonymous_id"):
                kept.ClearField(field)
            nameless.append(kept)
        of_oda = {kept.user_key for kept in listed if kept.detail == results[3].detail}
        self.assertEqual([kept.event for kept in listed if kept.user_key in of_oda], nameless)
        self.assertIn(results[6].detail, [kept.detail for kept in listed])
        newest = events_pb2.ListQuarantineRequest(limit=1)
        self.assertEqual(len(self.server.events.ListQuarantine(newest, timeout=CALL_WITHIN_S).events), 1)

    def test_a_stream_is_answered_in_order(self):
        def requests():
            for number in range(20):
                yield events_pb2.IngestStreamRequest(
                    events=[event(f"s-{number}", "sven", "purchase", value=1), event("s-0", "sven", "purchase", value=1)]
                )

        answers = list(self.server.events.IngestStream(requests(), timeout=CALL_WITHIN_S))
        self.assertEqual(len(answers), 20)
        for number, answer in enumerate(answers):
            self.assertEqual([result.message_id for result in answer.results], [f"s-{number}", "s-0"])
            self.assertEqual(outcomes(answer.results), ["ACCEPTED", "DUPLICATE"])
        self.assertEqual(self.server.read("sven", "purchases_7d").features[0].value, 20.0)

    def test_a_wrong_clock_of_the_sender_does_not_matter(self):
        sent_at = timestamp_pb2.Timestamp(seconds=1_000_000_000)
        results = self.server.ingest(event("c-1", "clara", "add_to_cart", at=999_999_400), sent_at=sent_at)
        self.assertEqual(outcomes(results), ["ACCEPTED"])
        age = self.server.read("clara", "seconds_since_cart").features[0].value
        self.assertGreaterEqual(age, 599)
        self.assertLess(age, 660)

    def test_a_batch_that_is_too_long_is_refused_whole(self):
        batch = [event(f"l-{number}", "lena", "purchase") for number in range(2501)]
        words, fields = self.refused(grpc.StatusCode.INVALID_ARGUMENT, self.server.ingest, *batch)
        self.assertIn("2500", words)
        self.assertEqual(fields, ["events"])
        self.assertEqual(self.server.read("lena").events_applied, 0)

    def test_what_was_set_aside_is_mended_and_counts_once(self):
        (aside,) = self.server.ingest(event("q-1", "quinn", "purchase", value="12"))
        self.assertEqual((aside.reason, aside.field), (events_pb2.QUARANTINE_REASON_WRONG_TYPE, "properties.value"))
        wanted = events_pb2.ListQuarantineRequest(reason=aside.reason, event="Order Completed")
        (kept,) = self.server.events.ListQuarantine(wanted, timeout=CALL_WITHIN_S).events
        self.assertEqual(kept.event.properties["value"].text, "12")

        def replay(*changes):
            request = events_pb2.ReplayQuarantineRequest(numbers=[kept.number], changes=changes)
            return outcomes(self.server.events.ReplayQuarantine(request, timeout=CALL_WITHIN_S).events)

        self.assertEqual(replay(), ["QUARANTINED"])
        self.assertEqual(replay(events_pb2.EventChange(field="properties.value", value=value(12.0))), ["ACCEPTED"])
        self.assertEqual(replay(), ["UNSPECIFIED"])
        self.assertEqual(outcomes(self.server.ingest(event("q-1", "quinn", "purchase", value=12.0))), ["DUPLICATE"])
        self.assertEqual(self.server.read("quinn", "spend_7d").features[0].value, 12.0)

    def test_only_what_is_declared_so_is_taken_back(self):
        self.server.ingest(event("t-1", "tess", "purchase", value=5))
        retraction = events_pb2.Event(
            message_id="t-2", user_id="tess", type=events_pb2.EVENT_TYPE_RETRACT, retracts_message_id="t-1"
        )
        (refused,) = self.server.ingest(retraction)
        self.assertEqual(refused.reason, events_pb2.QUARANTINE_REASON_NOT_RETRACTABLE)
        retraction.message_id, retraction.retracts_message_id = "t-3", "t-0"
        (refused,) = self.server.ingest(retraction)
        self.assertEqual(refused.reason, events_pb2.QUARANTINE_REASON_UNKNOWN_ORIGINAL)
        self.assertEqual(self.server.read("tess", "spend_7d").features[0].value, 5.0)

    # Persons

    def test_ids_become_one_person_and_two_again(self):
        device = value_pb2.Subject(anonymous_id="iris-phone")

        def spend(of):
            request = features_pb2.GetFeaturesRequest(subject=of, features=["spend_7d"])
            return self.server.features.GetFeatures(request, timeout=CALL_WITHIN_S).features[0].value

        self.server.ingest(
            events_pb2.Event(
                message_id="i-1", anonymous_id="iris-phone", event="purchase", properties={"value": value(3)}
            ),
            event("i-2", "iris", "purchase", value=4),
        )
        self.assertEqual((spend(device), spend(subject("iris"))), (3.0, 4.0))
        (linked,) = self.server.ingest(
            events_pb2.Event(
                message_id="i-3", user_id="iris", anonymous_id="iris-phone", type=events_pb2.EVENT_TYPE_IDENTIFY
            )
        )
        self.assertEqual(outcomes([linked]), ["ACCEPTED"])
        self.assertEqual((spend(device), spend(subject("iris"))), (7.0, 7.0))
        request = identity_pb2.DescribePersonRequest(subject=subject("iris"))
        person = self.server.identity.DescribePerson(request, timeout=CALL_WITHIN_S)
        self.assertEqual([link.by for link in person.links], [identity_pb2.LINKED_BY_DEVICE])

        undone = self.server.identity.UnlinkId(identity_pb2.UnlinkIdRequest(id=device), timeout=CALL_WITHIN_S)
        self.assertTrue(undone.was_linked)
        self.assertEqual((spend(device), spend(subject("iris"))), (3.0, 4.0))

    def test_an_erased_user_is_gone_until_readmitted(self):
        self.server.ingest(event("e-1", "erin", "purchase", value=4))
        erased = self.server.privacy.EraseUser(
            privacy_pb2.EraseUserRequest(subject=subject("erin")), timeout=CALL_WITHIN_S
        )
        self.assertEqual({store.store: store.records for store in erased.stores}["events"], 1)
        self.assertEqual(self.server.read("erin", "spend_7d").features[0].status, status("NOT_FOUND"))
        self.assertEqual(outcomes(self.server.ingest(event("e-2", "erin", "purchase"))), ["SUPPRESSED"])
        request = privacy_pb2.ReadmitUserRequest(subject=subject("erin"))
        self.assertTrue(self.server.privacy.ReadmitUser(request, timeout=CALL_WITHIN_S).was_erased)
        self.assertEqual(outcomes(self.server.ingest(event("e-3", "erin", "purchase"))), ["ACCEPTED"])

    # Features

    def test_features_say_what_is_known_and_what_is_not(self):
        everything = self.server.read("nobody")
        names = ["purchases_7d", "spend_7d", "seconds_since_cart", "country_now"]
        self.assertEqual([feature.name for feature in everything.features], names)
        unknown = self.server.read("nobody", *names[:3])
        self.assertEqual({feature.status for feature in unknown.features}, {status("NOT_FOUND")})
        self.assertFalse(any(feature.HasField("value") for feature in unknown.features))

        self.server.ingest(event("f-1", "fay", "purchase", value=19.99))
        known = self.server.read("fay", "seconds_since_cart", "spend_7d")
        self.assertEqual([feature.status for feature in known.features], [status("NULL_VALUE"), status("PRESENT")])
        self.assertFalse(known.features[0].HasField("value"))
        self.assertEqual(known.features[1].value, 19.99)
        reach_s = known.effective_time.seconds - known.features[1].window_start.seconds
        self.assertGreaterEqual(reach_s, 7 * 86_400)
        self.assertLessEqual(reach_s, 7 * 86_400 * 13 / 12)
        self.assertEqual(known.feature_set, unknown.feature_set)
        self.assertEqual(len(known.feature_set), 64)

        request = features_pb2.BatchGetFeaturesRequest(
            subjects=[subject("nobody"), subject("fay")], features=["spend_7d"]
        )
        both = self.server.features.BatchGetFeatures(request, timeout=CALL_WITHIN_S).results
        self.assertEqual([one.features[0].status for one in both], [status("NOT_FOUND"), status("PRESENT")])
        self.assertEqual(both[0].effective_time, both[1].effective_time)

    def test_a_named_set_takes_the_request_and_a_bad_subject_fails_alone(self):
        self.server.ingest(event("n-1", "nora", "purchase", value=7.5))
        context = {"country": value("FR")}
        request = features_pb2.GetFeaturesRequest(subject=subject("nora"), named_set="checkout", context=context)
        read = self.server.features.GetFeatures(request, timeout=CALL_WITHIN_S)
        self.assertEqual([feature.name for feature in read.features], ["country_now", "spend_7d"])
        self.assertEqual(read.features[0].text_value, "FR")
        self.assertFalse(read.features[0].HasField("value"))
        self.assertEqual(read.features[1].value, 7.5)
        described = self.server.features.DescribeFeatures(features_pb2.DescribeFeaturesRequest(), timeout=CALL_WITHIN_S)
        self.assertEqual(described.named_sets[0].version, read.named_set_version)
        definitions = {feature.name: feature.definition for feature in described.features}
        self.assertEqual([definitions[feature.name] for feature in read.features], [f.definition for f in read.features])

        request = features_pb2.BatchGetFeaturesRequest(
            subjects=[subject("nora"), subject(""), subject("nobody")], named_set="checkout", context=context
        )
        batch = self.server.features.BatchGetFeatures(request, timeout=CALL_WITHIN_S)
        self.assertEqual(batch.results[0].features, read.features)
        self.assertEqual([(one.index, one.code) for one in batch.failures], [(1, "INVALID_ARGUMENT")])
        self.assertEqual(batch.results[2].features[0].text_value, "FR")
        self.assertEqual(batch.results[2].features[1].status, status("NOT_FOUND"))

    def test_a_user_and_an_anonymous_id_of_the_same_spelling_are_two(self):
        self.server.ingest(events_pb2.Event(message_id="a-1", anonymous_id="ann", event="purchase"))
        request = features_pb2.GetFeaturesRequest(subject=value_pb2.Subject(anonymous_id="ann"))
        self.assertEqual(self.server.features.GetFeatures(request, timeout=CALL_WITHIN_S).events_applied, 1)
        self.assertEqual(self.server.read("ann").events_applied, 0)

    def test_an_unknown_feature_is_named_with_its_neighbour(self):
        words, fields = self.refused(grpc.StatusCode.INVALID_ARGUMENT, self.server.read, "fay", "spend_7d", "spend_7")
        self.assertEqual(fields, ["features[1]"])
        self.assertIn("spend_7d", words)

    def test_definitions_can_be_asked(self):
        described = self.server.features.DescribeFeatures(features_pb2.DescribeFeaturesRequest(), timeout=CALL_WITHIN_S)
        self.assertEqual(
            [(feature.name, feature.value_type, list(feature.events)) for feature in described.features],
            [
                ("purchases_7d", "number", ["purchase"]),
                ("spend_7d", "number", ["purchase"]),
                ("seconds_since_cart", "number", ["add_to_cart"]),
                ("country_now", "text", []),
            ],
        )

    # Decisions

    def test_a_decision_is_exact_and_explained(self):
        self.server.ingest(event("d-1", "dora", "purchase", value=10), event("d-2", "dora", "purchase", value=5))
        decision = self.server.decide("dora", cart_value=100, country="DE")
        self.assertEqual(decision.action, "free_shipping")
        self.assertEqual(decision.payload_json, '{"banner":"free-shipping","priority":2}')
        self.assertEqual(decision.value, 50.0)
        self.assertEqual(decision.propensity, 1.0)
        self.assertEqual(decision.rung, decisions_pb2.RUNG_CHAMPION)
        self.assertEqual(codes(decision.reasons), [("HIGHEST_VALUE", "")])
        self.assertEqual([found.action for found in decision.candidates], ["free_shipping", "discount_10", "nothing"])
        denied = candidate(decision, "discount_10")
        self.assertEqual(codes([denied.reason]), [("RULE_DENIED", "REGULAR_PAYS_FULL")])
        self.assertEqual(denied.probability, 0.0)
        self.assertEqual(codes([candidate(decision, "nothing").reason]), [("OUTRANKED", "")])
        life_ms = decision.expires_at.ToMilliseconds() - decision.decided_at.ToMilliseconds()
        self.assertEqual(life_ms, 15 * 60 * 1000)

        explained = self.server.explain(decision.decision_id).record
        self.assertEqual(explained.decision, decision)
        self.assertEqual(explained.decision_point, "cart_page")
        self.assertEqual({name: found.WhichOneof("kind") for name, found in explained.context.items()}, {"cart_value": "number", "country": "text"})
        self.assertEqual([(feature.name, feature.value) for feature in explained.features[:2]], [("purchases_7d", 2.0), ("spend_7d", 15.0)])
        self.assertEqual(list(explained.exposures), [])
        self.assertNotIn("dora", explained.user_key)
        self.assertEqual(len(explained.user_key), 32)

        # The cap of free shipping is used up now, and the discount is denied: the default is left.
        again = self.server.decide("dora", cart_value=100)
        self.assertEqual(again.action, "nothing")
        self.assertEqual(codes(again.reasons), [("NO_ELIGIBLE_ACTION", "")])
        capped = candidate(again, "free_shipping")
        self.assertEqual(codes([capped.reason]), [("FREQUENCY_CAP", "1 per 1d")])
        free_again_ms = capped.next_eligible_at.ToMilliseconds() - decision.decided_at.ToMilliseconds()
        self.assertEqual(free_again_ms, 24 * 3600 * 1000)
        exposures = self.server.explain(again.decision_id).record.exposures
        self.assertEqual([(exposure.action, exposure.channel) for exposure in exposures], [("free_shipping", "onsite")])

    def test_an_event_is_seen_by_the_very_next_decision(self):
        for bought in range(4):
            decision = self.server.decide("eve", cart_value=30)
            denied = candidate(decision, "discount_10").reason.code == "RULE_DENIED"
            self.assertEqual(denied, bought >= 2, f"after {bought} purchases")
            self.server.ingest(event(f"e-{bought}", "eve", "purchase", value=1))

    def test_decisions_at_once_never_exceed_a_cap(self):
        with futures.ThreadPoolExecutor(16) as callers:
            decisions = list(callers.map(lambda _: self.server.decide("cleo", cart_value=100), range(64)))
        given = [decision.action for decision in decisions]
        self.assertEqual(given.count("free_shipping"), 1, given)
        self.assertEqual(len({decision.decision_id for decision in decisions}), 64)

    def test_a_missing_input_is_told_and_never_fails(self):
        decision = self.server.decide("mia")
        self.assertEqual(decision.action, "discount_10")
        self.assertEqual(decision.value, 0.0)
        self.assertEqual(
            codes([candidate(decision, "free_shipping").reason]),
            [("MISSING_INPUT", "action free_shipping: context.cart_value")],
        )
        self.assertEqual(
            codes(decision.reasons),
            [
                ("HIGHEST_VALUE", ""),
                ("USER_UNKNOWN", ""),
                ("MISSING_INPUT", "rule regular_pays_full: features.purchases_7d"),
                ("VALUE_UNKNOWN", "action discount_10: context.cart_value"),
            ],
        )

    def test_without_a_model_the_answer_falls_to_rules_only(self):
        decision = self.server.decide("rosa", point="win_back")
        self.assertEqual((decision.action, decision.value), ("call", 3.0))
        self.assertEqual(decision.rung, decisions_pb2.RUNG_RULES_ONLY)
        self.assertIn(("MODEL_UNAVAILABLE", "churn"), codes(decision.reasons))
        self.assertEqual([(score.alias, score.HasField("calibrated")) for score in decision.scores], [("churn", False)])
        models = self.server.models.ReloadModels(models_pb2.ReloadModelsRequest(), timeout=CALL_WITHIN_S)
        self.assertEqual((list(models.loaded), list(models.missing)), ([], ["churn"]))

    def test_wrong_requests_name_the_field(self):
        invalid = grpc.StatusCode.INVALID_ARGUMENT
        decide = self.server.decide
        self.assertEqual(self.refused(invalid, decide, "ida", cart_vale=1)[1], ["context.cart_vale"])
        self.assertEqual(self.refused(invalid, decide, "ida", cart_value="ten")[1], ["context.cart_value"])
        self.assertEqual(self.refused(invalid, decide, "ida", cart_value=2**53 + 1)[1], ["context.cart_value"])
        self.assertEqual(self.refused(invalid, decide, "")[1], ["subject.user_id"])
        self.assertEqual(self.refused(invalid, decide, "i" * 257)[1], ["subject.user_id"])
        nobody = decisions_pb2.DecideRequest(decision_point="cart_page")
        words, fields = self.refused(invalid, self.server.decisions.Decide, nobody, timeout=CALL_WITHIN_S)
        self.assertEqual(fields, ["subject"])
        words, _ = self.refused(grpc.StatusCode.NOT_FOUND, decide, "ida", point="cart_pages")
        self.assertIn("cart_page", words)
        self.refused(grpc.StatusCode.NOT_FOUND, self.server.explain, "0" * 32)
        self.assertEqual(self.refused(invalid, self.server.explain, "not hexadecimal")[1], ["decision_id"])

    def test_the_log_can_be_read_from_anywhere(self):
        first = self.server.decide("tom", cart_value=1)
        second = self.server.decide("tom", cart_value=2)
        sequence = self.server.explain(first.decision_id).record.sequence
        request = log_pb2.TailDecisionsRequest(from_sequence=sequence, limit=2)
        records = [answer.record for answer in self.server.log.TailDecisions(request, timeout=CALL_WITHIN_S)]
        self.assertEqual([record.sequence for record in records], [sequence, sequence + 1])
        self.assertEqual([record.decision for record in records], [first, second])

    # Policies and everything around

    def test_a_policy_with_a_fault_is_refused_with_its_place(self):
        served = self.server.policies.GetPolicy(policies_pb2.GetPolicyRequest(), timeout=CALL_WITHIN_S)
        self.assertEqual(list(served.decision_points), ["cart_page", "win_back"])
        self.assertEqual(served.policy_toml, (DEFINITIONS / "policy.toml").read_text())
        self.assertEqual(self.server.decide("pia", cart_value=1).policy_id, served.policy_id)

        wrong = served.policy_toml.replace("features.purchases_7d", "features.purchase_7d")
        request = policies_pb2.CheckPolicyRequest(policy_toml=wrong)
        checked = self.server.policies.CheckPolicy(request, timeout=CALL_WITHIN_S)
        self.assertEqual(checked.policy_id, "")
        self.assertEqual(len(checked.faults), 1)
        fault = checked.faults[0]
        lines = wrong.splitlines()
        self.assertEqual(fault.line, 1 + next(i for i, line in enumerate(lines) if "purchase_7d" in line))
        self.assertEqual(fault.column, 1 + lines[fault.line - 1].index("features.purchase_7d"))
        self.assertIn("features.purchases_7d", fault.hint)

        activate = policies_pb2.ActivatePolicyRequest(policy_toml=wrong)
        refused = self.server.policies.ActivatePolicy(activate, timeout=CALL_WITHIN_S)
        self.assertEqual((refused.policy_id, len(refused.faults)), ("", 1))
        self.assertEqual(self.server.decide("pia", cart_value=1).policy_id, served.policy_id)

    def test_the_api_describes_itself(self):
        database = ProtoReflectionDescriptorDatabase(self.server.channel)
        services = set(database.get_services())
        ours = {f"augur.v1.{name}Service" for name in ("Event", "Feature", "Decision", "Log", "Model", "Policy")}
        self.assertLessEqual(ours, services)
        self.assertIn("grpc.health.v1.Health", services)
        pool = descriptor_pool.DescriptorPool(database)
        methods = pool.FindServiceByName("augur.v1.DecisionService").methods_by_name
        self.assertEqual(set(methods), set(decisions_pb2.DESCRIPTOR.services_by_name["DecisionService"].methods_by_name))
        request = pool.FindMessageTypeByName("augur.v1.DecideRequest")
        self.assertEqual(request.fields_by_name["decision_point"].number, 2)

    def test_health_is_told_per_service(self):
        # The message is one text in field 1; the answer is one number in field 1.
        check = self.server.channel.unary_unary("/grpc.health.v1.Health/Check")
        for service in ("", "augur.v1.DecisionService", "augur.v1.EventService"):
            request = b"\x0a" + bytes([len(service)]) + service.encode() if service else b""
            self.assertEqual(check(request, timeout=CALL_WITHIN_S), b"\x08\x01", service)
        unknown = b"\x0a\x04nope"
        self.refused(grpc.StatusCode.NOT_FOUND, check, unknown, timeout=CALL_WITHIN_S)

    def test_health_and_metrics_over_http(self):
        self.server.decide("hal", cart_value=1)
        self.assertEqual(self.server.http("/healthz")[0], 200)
        self.assertEqual(self.server.http("/readyz")[0], 200)
        code, metrics = self.server.http("/metrics")
        self.assertEqual(code, 200)
        counted = [line for line in metrics.splitlines() if line.startswith("augur_decisions_total{")]
        self.assertTrue(any('point="cart_page"' in line and 'rung="CHAMPION"' in line for line in counted), counted)
        self.assertNotIn("hal", metrics.split())


class Killed(unittest.TestCase):
    def test_what_was_acknowledged_survives_a_kill(self):
        with tempfile.TemporaryDirectory(prefix="augur-python-") as directory:
            data = pathlib.Path(directory) / "data"
            server = Server(data)
            sent = [event(f"k-{number}", "kim", "purchase", value=number) for number in range(50)]
            self.assertEqual(set(outcomes(server.ingest(*sent))), {"ACCEPTED"})
            decision = server.decide("kim", cart_value=80)
            self.assertEqual(decision.action, "free_shipping")
            before = server.explain(decision.decision_id).record
            server.stop(signal.SIGKILL)

            server = Server(data)
            self.assertEqual(set(outcomes(server.ingest(*sent))), {"DUPLICATE"})
            read = server.read("kim", "purchases_7d", "spend_7d")
            self.assertEqual([feature.value for feature in read.features], [50.0, sum(range(50))])
            self.assertEqual(server.explain(decision.decision_id).record, before)
            again = server.decide("kim", cart_value=80)
            self.assertEqual(again.action, "nothing", "the cap still counts what was given before the kill")
            self.assertEqual(server.explain(again.decision_id).record.sequence, before.sequence + 1)
            self.assertEqual(server.stop(), 0)

            replay = [BINARY, "replay", "--verify", "--data", data, "--json"]
            replayed = subprocess.run(replay, capture_output=True, text=True, timeout=READY_WITHIN_S)
            self.assertEqual(replayed.returncode, 0, replayed.stderr)
            report = json.loads(replayed.stdout)
            self.assertEqual((report["verdict"], report["records"], report["equal"]), ("identical", 2, 2))


class Files(unittest.TestCase):
    """The examples in docs/, and what is said about files with mistakes."""

    def check(self, directory, features, policy, **environment):
        """Runs `augur serve --check-config`."""
        names = {"features.toml": features, "policy.toml": policy}
        for name, text in names.items():
            (pathlib.Path(directory) / name).write_text(text)
        environment = {
            **os.environ,
            "AUGUR_DATA_DIR": str(pathlib.Path(directory) / "data"),
            "AUGUR_DATA_FEATURES": str(pathlib.Path(directory) / "features.toml"),
            "AUGUR_DATA_POLICY": str(pathlib.Path(directory) / "policy.toml"),
            **environment,
        }
        command = [BINARY, "serve", "--config", ROOT / "config" / "augur.toml", "--check-config"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=READY_WITHIN_S)

    def test_the_documented_examples_are_valid_and_mistakes_have_places(self):
        features, policy = (
            re.search(r"```toml\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL).group(1)
            for name in ("features.md", "policy.md")
        )
        with tempfile.TemporaryDirectory(prefix="augur-python-") as directory:
            checked = self.check(directory, features, policy)
            self.assertEqual(checked.returncode, 0, checked.stderr)

            checked = self.check(directory, features.replace("half_lives =", "half_life ="), policy)
            self.assertNotEqual(checked.returncode, 0)
            self.assertIn("features.toml:7:1: `half_life` has no meaning", checked.stderr)
            self.assertIn("did you mean `half_lives`", checked.stderr)

            checked = self.check(directory, features, policy.replace("scores.churn\"", "scores.churns\""))
            self.assertNotEqual(checked.returncode, 0)
            self.assertRegex(checked.stderr, r"policy\.toml:\d+:\d+: .*`scores\.churns` is not a known name")

            checked = self.check(directory, features, policy, AUGUR_SERVER_LISTN="127.0.0.1:1")
            self.assertNotEqual(checked.returncode, 0)
            self.assertIn("did you mean `listen`", checked.stderr)

            checked = self.check(directory, features, policy, AUGUR_SERVER_LISTEN="0.0.0.0:7401")
            self.assertNotEqual(checked.returncode, 0)
            self.assertIn("allow_insecure", checked.stderr)
            self.assertFalse((pathlib.Path(directory) / "data").exists(), "a check leaves nothing behind")


class Readme(unittest.TestCase):
    """The README's calls, as they stand there, on a directory that `augur serve --data` has made."""

    def test_its_calls_work(self):
        readme = (ROOT / "README.md").read_text()
        (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
        calls = re.findall(r"^grpcurl -plaintext -d '(.*)' localhost:7401 (\S+)/(\S+)$", readme, re.MULTILINE)
        self.assertEqual([method for _, _, method in calls], ["Ingest", "GetFeatures", "Decide"])
        with tempfile.TemporaryDirectory(prefix="augur-python-") as directory:
            server = Server(pathlib.Path(directory) / "data", new_directory=True)
            program = program.replace("localhost:7401", server.address)
            printed = io.StringIO()
            names = {}
            with contextlib.redirect_stdout(printed):
                exec(compile(program, "README.md", "exec"), names)  # noqa: S102
                answers = [names["call"](service.removeprefix("augur.v1."), method, json.loads(request)) for request, service, method in calls]
            ingested, features, decided = printed.getvalue().splitlines()
            self.assertIn("EVENT_OUTCOME_ACCEPTED", ingested)
            self.assertIn("add_to_carts_1d", features)
            self.assertIn("decisionId", decided)
            self.assertEqual(answers[0]["results"], [{"messageId": "m1", "outcome": "EVENT_OUTCOME_ACCEPTED"}])
            carts = next(feature for feature in answers[1]["features"] if feature["name"] == "add_to_carts_1d")
            self.assertEqual((carts["value"], carts["status"]), (2.0, "FEATURE_STATUS_PRESENT"))
            self.assertIn(answers[2]["action"], [found["action"] for found in answers[2]["candidates"]])
            names["channel"].close()
            self.assertEqual(server.stop(), 0)


@unittest.skipUnless(shutil.which("openssl"), "makes its certificate with openssl")
class Security(unittest.TestCase):
    """docs/security.md as it stands there: a certificate, keys, a server that asks for them, a client."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="augur-python-")
        self.addCleanup(directory.cleanup)
        self.directory = pathlib.Path(directory.name)
        self.document = (ROOT / "docs" / "security.md").read_text()
        (openssl,) = re.findall(r"```\n(openssl req .*?chmod 600 server.key)\n```", self.document, re.DOTALL)
        subprocess.run(["bash", "-ec", openssl], cwd=self.directory, check=True, capture_output=True)
        (settings,) = re.findall(r"```toml\n(\[server\].*?)```", self.document, re.DOTALL)
        self.assertIn('listen = "0.0.0.0:7401"', settings)
        data = f'[data]\nfeatures = "{DEFINITIONS}/features.toml"\npolicy = "{DEFINITIONS}/policy.toml"\n'
        (self.directory / "augur.toml").write_text(settings + data)
        self.assertIn(b"valid", self.augur("config", "check"))
        ready = self.directory / "ready"
        environment = {**os.environ, "AUGUR_SERVER_LISTEN": "127.0.0.1:0", "AUGUR_SERVER_HTTP_LISTEN": ""}
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", self.directory / "augur.toml", "--ready-file", ready],
            env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        self.addCleanup(self.process.wait, READY_WITHIN_S)
        self.addCleanup(self.process.terminate)
        give_up_at = time.monotonic() + READY_WITHIN_S
        while not ready.exists():
            self.assertLess(time.monotonic(), give_up_at)
            self.assertIsNone(self.process.poll())
            time.sleep(0.02)
        endpoint = json.loads(ready.read_text())["endpoint"]
        self.assertTrue(endpoint.startswith("https://"), endpoint)
        self.address = "localhost:" + endpoint.rsplit(":", 1)[1]

    def augur(self, *arguments):
        command = [BINARY, *arguments, "--config", self.directory / "augur.toml"]
        return subprocess.run(command, check=True, capture_output=True).stdout

    def key(self, name, *roles):
        flags = [flag for role in roles for flag in ("--role", role)]
        return json.loads(self.augur("keys", "create", name, *flags, "--json"))

    def channel(self, key, roots=None):
        transport = grpc.ssl_channel_credentials(roots or (self.directory / "server.pem").read_bytes())
        caller = grpc.access_token_call_credentials(key)
        return grpc.secure_channel(self.address, grpc.composite_channel_credentials(transport, caller))

    def decide(self, channel):
        request = decisions_pb2.DecideRequest(subject=subject("u-1"), decision_point="cart_page")
        return decisions_pb2_grpc.DecisionServiceStub(channel).Decide(request, timeout=CALL_WITHIN_S)

    def until(self, channel, expected):
        """Asks until the answer has the code `expected`; the server looks at its keys every second."""
        give_up_at = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                self.decide(channel)
                code = grpc.StatusCode.OK
            except grpc.RpcError as error:
                code, failed = error.code(), error
            if code == expected:
                return None if code == grpc.StatusCode.OK else failed
            self.assertLess(time.monotonic(), give_up_at, code)
            time.sleep(0.05)

    def test_its_client_decides_and_others_are_turned_away(self):
        made = self.key("shop-backend", "decide", "ingest")
        with self.channel(made["key"]) as channel:
            self.until(channel, grpc.StatusCode.OK)
        self.process.send_signal(signal.SIGHUP)
        (self.directory / "shop-backend.key").write_text(made["key"] + "\n")
        (program,) = re.findall(r"```python\n(.*?)```", self.document, re.DOTALL)
        program = program.replace("localhost:7401", self.address)
        for name in ("server.pem", "shop-backend.key"):
            program = program.replace(f'"{name}"', repr(str(self.directory / name)))
        printed = io.StringIO()
        names = {}
        with contextlib.redirect_stdout(printed):
            exec(compile(program, "security.md", "exec"), names)  # noqa: S102
        self.assertIn("decision_id", printed.getvalue())
        names["channel"].close()

        reader = self.key("reader", "read_features")
        with self.channel(reader["key"]) as channel:
            self.until(channel, grpc.StatusCode.PERMISSION_DENIED)
        self.augur("keys", "revoke", made["id"])
        with self.channel(made["key"]) as channel:
            revoked = self.until(channel, grpc.StatusCode.UNAUTHENTICATED)
        with self.channel("augur_000000000000_" + "0" * 64) as channel:
            unknown = self.until(channel, grpc.StatusCode.UNAUTHENTICATED)
        self.assertEqual(revoked.details(), unknown.details())
        (detail,) = rpc_status.from_call(revoked).details
        reason = error_details_pb2.ErrorInfo()
        self.assertTrue(detail.Unpack(reason))
        self.assertEqual((reason.reason, reason.domain), ("CREDENTIAL_REFUSED", "augur"))

        listed = json.loads(self.augur("keys", "list", "--json"))
        self.assertEqual([(key["name"], key["state"]) for key in listed], [("shop-backend", "revoked"), ("reader", "active")])
        self.assertNotIn(made["key"].rsplit("_", 1)[1], json.dumps(listed))

    def test_plain_text_is_not_answered(self):
        with grpc.insecure_channel(self.address) as channel:
            self.until(channel, grpc.StatusCode.UNAVAILABLE)

    def test_the_command_line_shows_its_key(self):
        admin = self.key("admin", "policy_write")
        environment = {**os.environ, "AUGUR_CA_FILE": str(self.directory / "server.pem"), "AUGUR_API_KEY": admin["key"]}
        command = [BINARY, "policy", "list", "--endpoint", f"https://{self.address}", "--json"]
        give_up_at = time.monotonic() + READY_WITHIN_S
        while True:
            answer = subprocess.run(command, env=environment, capture_output=True)
            if answer.returncode == 0:
                break
            self.assertLess(time.monotonic(), give_up_at, answer.stderr)
            time.sleep(0.1)
        del environment["AUGUR_API_KEY"]
        refused = subprocess.run(command, env=environment, capture_output=True)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"carries no credential", refused.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
