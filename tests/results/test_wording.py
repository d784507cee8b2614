from hepred_lib.study.tables import listed, p_value, two_digits, with_interval


def test_an_interval_that_begins_below_zero_is_read_with_to():
    assert with_interval(0.05, [-0.10, 0.20]) == "0.05 (-0.10 to 0.20)"
    assert with_interval(0.05, [0.01, 0.20]) == "0.05 (0.01-0.20)"


def test_an_estimate_without_a_known_limit_stands_alone():
    assert with_interval(0.5, [float("nan"), 0.7]) == "0.50"
    assert with_interval(0.5, None) == "0.50"


def test_what_is_missing_is_not_estimable():
    assert {with_interval(None, None), two_digits(float("nan")), p_value(None)} == {"not estimable"}


def test_p_values_keep_two_digits_that_matter():
    assert [p_value(p) for p in (0.5, 0.0494, 0.0011, 0.0009)] == ["0.50", "0.049", "0.001", "<0.001"]


def test_one_and_two_words_are_listed():
    assert (listed(["age"]), listed(["age", "sex"]), listed([], empty="none")) == ("age", "age and sex", "none")


def test_an_endless_interval_says_so():
    assert with_interval(float("inf"), [2.0, float("inf")]) == "infinite (2.00-infinite)"
