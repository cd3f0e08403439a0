"""The tower of tables: its fitted input, what is missing, and categories that were never seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import counterpoint as cp
from counterpoint.files import DamagedFileError
from counterpoint.networks import build_towers, initialise
from counterpoint.networks.base import INPUTS
from counterpoint.networks.fingerprint import fingerprint
from counterpoint.networks.towers.table import Cells, TablePerceptron
from counterpoint.recipes.schema import Towers

NAN = float("nan")
NAMES, CATEGORIES = ("age", "sex", "always"), ((), ("f", "m", "never"), ())


def table(*rows: tuple[float, float, float]) -> cp.Table:
    return cp.Table(torch.tensor(rows, dtype=torch.float32), NAMES, CATEGORIES)


TRAIN = table((20, 0, 7), (40, 1, 7), (NAN, 1, 7), (60, NAN, NAN))


def tower(cells: Cells) -> TablePerceptron:
    net = TablePerceptron(cells, width=8)
    initialise(net, 0)
    return net


def test_numbers_are_standardised_and_categories_are_numbers_of() -> None:
    made = Cells.fit([TRAIN])(TRAIN)
    unit = (200 / 3 * 4) ** 0.5  # the deviation of 20, 40, 60
    expected = [
        [-20 / unit, 1, 0, 0],
        [0, 0, 1, 0],
        [NAN, 0, 1, 0],
        [20 / unit, NAN, NAN, NAN],
    ]
    torch.testing.assert_close(made, torch.tensor(expected), equal_nan=True)


def test_categories_go_by_their_words_and_columns_by_their_names() -> None:
    given = cp.Table(torch.tensor([[1.0, 7, 40]]), ("sex", "always", "age"), (("x", "m"), (), ()))
    assert Cells.fit([TRAIN])(given).tolist() == [[0, 0, 1, 0]]
    with_more = cp.Table(
        torch.tensor([[40.0, 0, 7, 1], [40, 1, 7, 1]]), (*NAMES, "more"), ((), ("m", "x"), (), ())
    )
    first, second = Cells.fit([TRAIN])(with_more)
    assert first.tolist() == [0, 0, 1, 0]
    assert second.isnan().tolist() == [False, True, True, False]  # never seen in training


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            cp.Table(torch.zeros(1, 1), ("age",), ((),)),
            "lacks the column 'sex', which the training rows have",
        ),
        (
            cp.Table(torch.zeros(1, 3), NAMES, ((), (), ())),
            "sex held categories in the training rows, and holds numbers: read it as categories",
        ),
        (
            cp.Table(torch.zeros(1, 3), NAMES, (("a",), ("m",), ())),
            "age held numbers in the training rows, and holds categories: read it as numbers",
        ),
    ],
)
def test_other_columns_are_refused(given: cp.Table, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Cells.fit([TRAIN])(given)


def test_tables_that_share_a_tower_are_learned_together() -> None:
    more = cp.Table(torch.tensor([[2.0, 80, NAN]]), ("sex", "age", "always"), (("f", "m", "x"), (), ()))
    made = Cells.fit([TRAIN, more])
    assert [cell.words for cell in made.cells] == [(), ("f", "m", "x"), ()]
    assert made.cells[0].mean == 50
    with pytest.raises(ValueError, match=r"the same columns, and these have age, sex, always and age$"):
        Cells.fit([TRAIN, cp.Table(torch.zeros(1, 1), ("age",), ((),))])
    with pytest.raises(ValueError, match="age holds numbers in one table and categories in another"):
        Cells.fit([TRAIN, cp.Table(torch.zeros(1, 3), NAMES, (("a",), ("f",), ()))])


def test_it_is_kept_in_a_file(tmp_path: Path) -> None:
    made = Cells.fit([TRAIN])
    made.save(tmp_path / made.file)
    assert torch.equal(Cells.load(tmp_path / made.file)(TRAIN).nan_to_num(9), made(TRAIN).nan_to_num(9))
    (tmp_path / made.file).write_text("[]")
    with pytest.raises(DamagedFileError, match=r"table.json is damaged"):
        Cells.load(tmp_path / made.file)


def test_what_is_missing_has_a_learned_value() -> None:
    cells = Cells.fit([TRAIN])
    net = tower(cells)
    with torch.no_grad():
        net.missing.copy_(torch.tensor([0.5, 1, 0, 0]))
    gone = table((NAN, NAN, 7))
    filled = cells(gone).nan_to_num(0) + torch.tensor([[0.5, 1, 0, 0]])
    assert torch.equal(net(cells(gone)), net(filled))
    net(cells(TRAIN)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.missing.grad is not None
    assert net.missing.grad.ne(0).tolist() == [True, True, True, True]


def test_a_row_s_features_depend_on_no_other_row() -> None:
    cells = Cells.fit([TRAIN])
    net = tower(cells)
    together = net(cells(TRAIN))
    for row in range(4):
        torch.testing.assert_close(net(cells(TRAIN[row]))[0], together[row], rtol=0, atol=1e-6)
    assert net(torch.full((1, 4), NAN)).isfinite().all()


def test_it_is_built_of_training_rows_or_of_earlier_start_left(tmp_path: Path) -> None:
    net = build_towers(Towers(), {"table": TRAIN}, 3, columns={"table": "table"})["table"]
    assert isinstance(net, TablePerceptron)
    (tmp_path / INPUTS).mkdir()
    net.input.save(tmp_path / INPUTS / net.input.file)
    again = build_towers(Towers(), {}, 3, columns={"table": "table"}, folder=tmp_path)["table"]
    assert fingerprint(again, {"table": again.input}) == fingerprint(net, {"table": net.input})
    other = Cells.fit([table((1, 0, 7), (2, 1, 7))])
    assert fingerprint(net, {"table": other}) != fingerprint(net, {"table": net.input})
