"""What `tocsin verify event` makes of an event, a proof and a node: what it says, and how it exits."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.blocks import block_of
from tests.unit.test_cli_schedules import Relay
from tocsin import PrivateKey, cli, proofs
from tocsin.problems import BlockGone, NotFound, NotProvable
from tocsin.schemas.proofs import EventProof

KEY = PrivateKey.from_seed(bytes(32))
CHAIN = "eip155:1"
BLOCK, RECEIPTS = block_of(random.Random(21), 9)
INDEX = next(n for n, receipt in enumerate(RECEIPTS) if len(receipt["logs"]) > 1)
HASH, NUMBER = BLOCK["hash"], int(BLOCK["number"], 16)
OTHER_HASH = "0x" + "0d" * 32


def proof(log_index: int = 0) -> dict[str, Any]:
    contents = proofs.Contents.read(BLOCK, RECEIPTS, BLOCK["transactions"])
    return contents.proof(CHAIN, INDEX, log_index).document()


def event(log_index: int = 0, **members: Any) -> dict[str, Any]:
    proven = proofs.verify(proof(log_index), trusted_chain=CHAIN, trusted_block_hash=HASH)
    payload = proven.payload | {"verified": "receipts-root"}
    told = {"event_id": proven.event_id, "kind": "evm.log", "observed_at": "2026-11-22T09:00:00.000Z"}
    return told | {"payload": payload} | members


def ring(type: str = "event.matched", **members: Any) -> dict[str, Any]:
    return {"type": type, "timestamp": "2026-11-22T09:00:00.000Z", "data": event(**members)}


class Node(Relay):
    """A node of the user's own. Its URL has a key in it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: dict[str, Any] = {
            "eth_chainId": "0x1",
            "eth_blockNumber": hex(NUMBER + 12),
            hex(NUMBER): {"number": hex(NUMBER), "hash": HASH},
            HASH: None,
            "finalized": {"number": hex(NUMBER + 5)},
        }
        self.secret = f"{self.url}/v3/a-secret?key=another-secret"

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        call = json.loads(body)
        name = call["params"][0] if call["method"].startswith("eth_getBlockBy") else call["method"]
        said = self.said[name]
        if isinstance(said, bytes):
            return 502, said
        return 200, json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": said}).encode()


@pytest.fixture
def relay() -> Iterator[Relay]:
    opened = Relay()
    answer = EventProof.model_validate({"event": event(), "retracted": False, "proof": proof()})
    opened.answers[f"GET /v1/events/{event()['event_id']}/proof"] = answer
    yield opened
    opened.close()


@pytest.fixture
def node() -> Iterator[Node]:
    opened = Node()
    yield opened
    opened.close()


Type = Callable[..., tuple[int, str]]


@pytest.fixture
def typing(
    relay: Relay, node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Type:
    """Types `tocsin verify event …`, and gives how it ends and all that it prints. What is no text goes to a file."""

    def type_(*typed: Any, key: str = KEY.text) -> tuple[int, str]:
        words = list[str]()
        for place, word in enumerate(typed):
            if not isinstance(word, str):
                (tmp_path / str(place)).write_text(json.dumps(word))
            words.append(word if isinstance(word, str) else str(tmp_path / str(place)))
        monkeypatch.setattr("sys.argv", ["tocsin", "--url", relay.url, "--key", key, "verify", "event", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        told = capfd.readouterr()
        assert "secret" not in told.out + told.err
        assert KEY.text not in told.out + told.err
        return int(ended.value.code or 0), told.out + told.err

    return type_


def test_by_its_id_an_event_is_fetched_with_its_proof(typing: Type, node: Node) -> None:
    code, said = typing(event()["event_id"], "--rpc", node.secret)
    assert code == 0
    assert "holds it and is on the chain, says 127.0.0.1, 12 blocks below its head, and final" in said
    assert "only said" in said
    assert "verified" in said


def test_an_answer_about_another_event_is_none(typing: Type, relay: Relay, node: Node) -> None:
    answer = EventProof.model_validate({"event": event(1), "retracted": False, "proof": proof(1)})
    relay.answers[f"GET /v1/events/{event()['event_id']}/proof"] = answer
    code, said = typing(event()["event_id"], "--rpc", node.secret)
    assert code == 1
    assert f"another event, {event(1)['event_id']}" in said


@pytest.mark.parametrize(
    "told",
    [
        ring(),
        event(),
        {"event": event(), "retracted": False, "proof": proof()},
        {"items": [ring()], "next": "x"},
        {"items": [{"type": "subscription.heartbeat", "data": {"after": 1}}, ring()]},
        {"type": "event.batch", "data": {"items": [{"type": "event.matched", **event()}]}},
    ],
)
def test_an_event_may_come_in_any_form_that_it_is_told_in(typing: Type, node: Node, told: Any) -> None:
    assert typing(told, "--rpc", node.secret)[0] == 0


def test_with_the_proof_at_hand_nobody_is_asked(typing: Type, relay: Relay) -> None:
    code, said = typing(ring(), "--proof", proof(), "--block-hash", HASH)
    assert (code, relay.asked) == (0, [])
    assert f"holds it, if the chain has a block {HASH}" in said
    answer = {"event": event(), "retracted": False, "proof": proof()}
    assert typing(ring(), "--proof", answer, "--block-hash", HASH)[0] == 0


def test_nothing_is_proven_by_a_block_that_only_the_relay_knows(typing: Type) -> None:
    code, said = typing(event()["event_id"])
    assert code == 3
    assert "Whether the chain has this block only the relay says so far" in said


def test_programs_get_json(typing: Type, node: Node) -> None:
    code, said = typing(event()["event_id"], "--rpc", node.secret, "--json")
    assert code == 0
    told = json.loads(said)
    assert told["verdict"] == "proven"
    assert told["log"] == event()["payload"]["log"]
    assert told["unchecked"] == ["payload.verified"]
    assert told["trusted"] == {
        "block_hash": HASH,
        "said_by": "127.0.0.1",
        "canonical_hash": HASH,
        "head": NUMBER + 12,
        "finalized": NUMBER + 5,
    }


def altered(**log: Any) -> dict[str, Any]:
    payload = event()["payload"]
    return ring(payload=payload | {"log": payload["log"] | log})


@pytest.mark.parametrize(
    ("told", "given", "said"),
    [
        (altered(data="0x"), proof(), "event.payload.log.data"),
        (altered(address="0x" + "00" * 20), proof(), "event.payload.log.address"),
        (ring(), proof(1), "event.event_id"),
        (ring(), proof() | {"receipt": {"path": []}}, "receipt.path"),
        (ring(), {"version": 2}, "proof"),
        (ring(), [], "proof"),
    ],
)
def test_what_is_not_so_exits_with_1(typing: Type, node: Node, told: Any, given: Any, said: str) -> None:
    code, printed = typing(told, "--proof", given, "--rpc", node.secret)
    assert code == 1
    assert said in printed


def test_another_hash_than_the_one_that_is_trusted_is_refused(typing: Type) -> None:
    code, said = typing(ring(), "--proof", proof(), "--block-hash", OTHER_HASH)
    assert code == 1
    assert OTHER_HASH in said


def test_a_block_that_is_not_on_the_chain_proves_nothing_of_it(typing: Type, node: Node) -> None:
    node.said[hex(NUMBER)]["hash"] = OTHER_HASH
    code, said = typing(ring(), "--rpc", node.secret)
    assert code == 1
    assert OTHER_HASH in said
    assert "reorganisation" in said


@pytest.mark.parametrize("type", ["event.matched", "event.retracted"])
def test_a_node_that_is_behind_decides_nothing(typing: Type, node: Node, type: str) -> None:
    node.said[hex(NUMBER)] = None
    code, said = typing(ring(type), "--rpc", node.secret)
    assert code == 3
    assert "may be behind" in said


def test_of_a_retraction_it_is_checked_that_the_block_has_gone(typing: Type, node: Node) -> None:
    code, said = typing(ring("event.retracted"), "--rpc", node.secret)
    assert code == 1
    assert "stands and holds it" in said
    node.said[hex(NUMBER)]["hash"] = OTHER_HASH
    code, said = typing(ring("event.retracted"), "--rpc", node.secret)
    assert code == 0
    assert "that block is not on the chain" in said
    code, said = typing(ring("event.retracted"), "--block-hash", HASH)
    assert code == 3
    assert "whether the block has gone" in said


class TestOfABlockThatTheRelayHasNoMore:
    """No proof can be had of it, and a node of the user's own is enough."""

    @pytest.fixture(autouse=True)
    def gone(self, relay: Relay, node: Node) -> None:
        relay.answers[f"GET /v1/events/{event()['event_id']}/proof"] = BlockGone("no provider has it")
        node.said[hex(NUMBER)]["hash"] = OTHER_HASH

    def test_a_retraction_is_so(self, typing: Type, node: Node) -> None:
        code, said = typing(ring("event.retracted"), "--rpc", node.secret)
        assert code == 0
        assert f"its block {HASH} is not on the chain, says 127.0.0.1" in said
        assert "What that block held was not checked" in said

    def test_an_event_is_not(self, typing: Type, node: Node) -> None:
        code, said = typing(ring(), "--rpc", node.secret)
        assert code == 1
        assert OTHER_HASH in said
        assert "reorganisation" in said

    @pytest.mark.parametrize("type", ["event.matched", "event.retracted"])
    def test_nothing_is_decided_while_it_stands_or_nobody_has_its_height(
        self, typing: Type, node: Node, type: str
    ) -> None:
        for hash in (HASH, None):
            node.said[hex(NUMBER)]["hash"] = hash
            code, said = typing(ring(type), "--rpc", node.secret)
            assert (code, "no provider has it" in said) == (3, True)

    def test_a_node_may_keep_what_is_not_on_its_chain(self, typing: Type, node: Node) -> None:
        node.said[HASH] = {"number": hex(NUMBER), "hash": HASH}
        assert typing(ring("event.retracted"), "--rpc", node.secret)[0] == 0

    def test_a_block_that_is_told_at_another_height_has_not_gone(self, typing: Type, node: Node) -> None:
        node.said[HASH] = {"number": hex(NUMBER + 1), "hash": HASH}
        code, said = typing(ring("event.retracted"), "--rpc", node.secret)
        assert code == 1
        assert f"is block {NUMBER + 1} of {CHAIN}" in said

    def test_nothing_is_decided_where_the_node_does_not_say(self, typing: Type, node: Node) -> None:
        node.said[HASH] = b"<html>"
        assert typing(ring("event.retracted"), "--rpc", node.secret)[0] == 3

    def test_by_its_id_it_is_said_that_a_file_is_enough(self, typing: Type, node: Node) -> None:
        code, said = typing(event()["event_id"], "--rpc", node.secret)
        assert code == 3
        assert "a file of what you were told is enough" in said


@pytest.mark.parametrize(("above", "said"), [(0, "at its head"), (1, "1 block below its head")])
def test_how_deep_it_is_is_said_in_words(typing: Type, node: Node, above: int, said: str) -> None:
    node.said["eth_blockNumber"] = hex(NUMBER + above)
    assert said in typing(ring(), "--rpc", node.secret)[1]


def test_several_events_may_stand_in_one_file_one_a_line(
    typing: Type, relay: Relay, node: Node, tmp_path: Path
) -> None:
    (tmp_path / "rings").write_text(f"{json.dumps(ring())}\n\n{json.dumps(altered(data='0x'))}\n")
    code, said = typing(str(tmp_path / "rings"), "--rpc", node.secret)
    assert code == 1
    assert "holds it and is on the chain" in said
    assert "event.payload.log.data" in said
    (tmp_path / "rings").write_text(f"{json.dumps(ring())}\nand so on\n")
    assert typing(str(tmp_path / "rings"), "--rpc", node.secret)[0] == 2


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("eth_chainId", "0x2", "a node of another chain"),
        ("eth_chainId", b"<html>", "something else than JSON"),
        (hex(NUMBER), {"number": "0x1", "hash": HASH}, "another block"),
        ("eth_blockNumber", b"[]", "refuses"),
    ],
)
def test_a_node_that_does_not_say_decides_nothing(typing: Type, node: Node, name: str, answer: Any, said: str) -> None:
    node.said[name] = answer
    code, printed = typing(ring(), "--rpc", node.secret)
    assert code == 3
    assert said in printed


def test_a_node_that_knows_nothing_of_finality_is_enough(typing: Type, node: Node) -> None:
    node.said["finalized"] = b"{}"
    code, said = typing(ring(), "--rpc", node.secret)
    assert code == 0
    assert "final" not in said


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1:1/secret", "ftp://secret", "secret", "http://[secret"),
        *("http://node:secret/", "http://no de/secret", "http://127.0.0.1/secret\x7f"),
    ],
)
def test_a_node_that_cannot_be_asked_decides_nothing(typing: Type, url: str) -> None:
    assert typing(ring(), "--rpc", url)[0] == 3


@pytest.mark.parametrize(
    "problem",
    [NotFound("no such event"), NotProvable("events of kind evm.call"), BlockGone("no provider has it")],
)
@pytest.mark.parametrize("by", ["id", "file"])
def test_without_a_proof_nothing_is_decided(typing: Type, relay: Relay, problem: Any, by: str) -> None:
    relay.answers[f"GET /v1/events/{event()['event_id']}/proof"] = problem
    code, said = typing(event()["event_id"] if by == "id" else ring())
    assert code == 3
    assert problem.detail in said


@pytest.mark.parametrize("by", ["id", "file"])
def test_without_a_key_to_ask_the_relay_with_nothing_is_decided(typing: Type, by: str) -> None:
    code, said = typing(event()["event_id"] if by == "id" else ring(), key="/no/such/key")
    assert code == 3
    assert "/no/such/key" in said


def test_without_keccak_nothing_is_decided_and_it_is_said_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "ring.json").write_text(json.dumps(ring()))
    program = "import sys; sys.modules['sha3'] = None; from tocsin.cli import main; main()"
    command = [sys.executable, "-c", program, "verify", "event", str(tmp_path / "ring.json")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 3
    # The relay's own commands are missed before it.
    assert ended.stderr.splitlines()[-1].endswith("needs Keccak-256: pip install tocsin[proofs]")


@pytest.mark.parametrize("typed", [HASH[2:], HASH[:-1], "", "latest"])
def test_a_hash_that_is_none_is_a_slip_and_refutes_nothing(typing: Type, typed: str) -> None:
    assert typing(ring(), "--proof", proof(), "--block-hash", typed)[0] == 2


def test_a_kind_without_proofs_says_what_can_be_done(typing: Type, relay: Relay) -> None:
    code, said = typing(ring(kind="http.json"))
    assert (code, relay.asked) == (3, [])
    assert "body_sha256" in said


def test_what_was_decoded_is_checked_with_a_signature(typing: Type) -> None:
    code, said = typing(ring(), "--proof", proof(), "--signature", "Sync(uint112 reserve0, uint112 reserve1)")
    assert code == 1
    assert "the log is not of Sync" in said
    assert typing(ring(), "--proof", proof(), "--signature", "Sync(")[0] == 2


def unwrapped(said: str) -> str:
    """What is said in a box, in one line."""
    return " ".join(said.replace("│", "").split())


@pytest.mark.parametrize("kind", sorted({*proofs.RULES, *proofs.NO_PROOF} - {"evm.log"}))
def test_a_signature_beside_a_kind_that_has_none_is_refused(typing: Type, relay: Relay, kind: str) -> None:
    code, said = typing(ring(kind=kind), "--proof", proof(), "--signature", "Sync(uint112 reserve0, uint112 reserve1)")
    assert (code, relay.asked) == (2, [])
    assert f"is told as {kind}: leave --signature out" in unwrapped(said)


class TestToldToSeveral:
    """One log, two subscriptions of an agent's: each may have been told it in another form."""

    @pytest.fixture(autouse=True)
    def relay(self, relay: Relay) -> Relay:
        heard = {"subscription_id": "sub_a", "also_told_to": ["sub_b"]}
        answer = EventProof.model_validate({"event": event(), "retracted": False, "proof": proof(), **heard})
        relay.answers[f"GET /v1/events/{event()['event_id']}/proof"] = answer
        return relay

    def test_it_is_said_whose_telling_was_checked(self, typing: Type, node: Node) -> None:
        code, said = typing(event()["event_id"], "--rpc", node.secret)
        assert code == 0
        assert "As sub_a was told it; --subscription shows it as told to sub_b." in said
        told = json.loads(typing(event()["event_id"], "--rpc", node.secret, "--json")[1])
        assert (told["subscription_id"], told["also_told_to"]) == ("sub_a", ["sub_b"])

    def test_a_signature_refutes_none_of_them_before_one_is_named(self, typing: Type, node: Node) -> None:
        signed = ("--signature", "Sync(uint112 reserve0, uint112 reserve1)")
        code, said = typing(event()["event_id"], "--rpc", node.secret, *signed)
        assert code == 2
        assert "--subscription, of sub_a, sub_b" in unwrapped(said)
        code, said = typing(event()["event_id"], "--rpc", node.secret, *signed, "--subscription", "sub_a")
        assert code == 1
        assert "the log is not of Sync" in said

    def test_one_that_is_named_is_asked_for(self, typing: Type, relay: Relay, node: Node) -> None:
        code, said = typing(event()["event_id"], "--rpc", node.secret, "--subscription", "sub_a")
        assert (code, relay.asked[0][2]) == (0, {"subscription_id": ["sub_a"]})
        assert "told to" not in said

    def test_what_another_one_was_told_decides_nothing(self, typing: Type, node: Node) -> None:
        code, said = typing(event()["event_id"], "--rpc", node.secret, "--subscription", "sub_b")
        assert code == 3
        assert "does not say what sub_b was told" in said

    def test_none_is_named_for_a_file(self, typing: Type) -> None:
        assert typing(ring(), "--subscription", "sub_a")[0] == 2


NOTHING = [{}, {"items": []}, {"type": "event.batch", "data": {"items": []}}, {"type": "subscription.heartbeat"}]


@pytest.mark.parametrize(
    "typed", [("/no/such/file",), ("nothing",), (ring(payload={}),), *((nothing,) for nothing in NOTHING)]
)
def test_what_is_no_event_is_refused(typing: Type, typed: tuple[Any, ...]) -> None:
    assert typing(*typed)[0] == 2
