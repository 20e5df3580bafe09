"""RFC 7638 thumbprints of published keys."""

from tocsin.keys import PublicKey

TEST_KEY_ED25519 = "JrQLj5P_89iXES9-vFgrIy29clF9CC_oPPsw3c5D0bs"  # RFC 9421, appendix B.1.4
RFC_8037_KEY = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # RFC 8037, appendix A.2


def test_thumbprints_are_those_published() -> None:
    assert PublicKey.parse(TEST_KEY_ED25519).keyid == "poqkLGiymh_W0uP6PZFw-dvez3QJT5SolqXBCW38r0U"
    assert PublicKey.parse(RFC_8037_KEY).keyid == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
