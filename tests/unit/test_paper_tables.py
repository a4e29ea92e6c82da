"""The paper's own figures, beside which the tables of ours stand."""
import re

from gavn.experiments.report.paper import paper_table
from gavn.experiments.report.render import markdown


def test_the_paper_s_figures_are_those_that_it_prints(shared):
    text = (shared / 'paper.txt').read_text(encoding='utf-8')
    printed = [set(re.findall(r'\d+\.\d{4}', line)) for line in text.splitlines() if '\t' in line]
    for number in (1, 2, 3):
        for block in paper_table(number).blocks:
            for row in block:
                figures = {cell.text for cell in row if re.fullmatch(r'\d+\.\d{4}', cell.text)}
                assert any(figures <= line for line in printed), row
    for row in paper_table(4).blocks[0]:
        assert {cell.text for cell in row[1:]} in printed


def test_the_paper_s_tables_in_our_layout():
    one, two, three, four = (markdown(paper_table(number)) for number in (1, 2, 3, 4))
    assert '| GAVN | 7 | **28.9780** | **0.8622** | **0.9391** | **0.1658** | **4.8463** |' in one
    assert '| DAVD-Net | 5 | 38.4667 | 0.9672 | 0.9943 | 0.0613 |' in one
    assert '| <ins>0.0651</ins> |' in one and '| 0.0824 |' in one and 'underlines 0.0824' in one
    assert '| 45 | 28.5213 | 28.6857 | <ins>28.7269</ins> | **28.9780** (+0.2511) |' in two
    assert '(+1.0003)' in two and '+0.2923' in two and 'run' not in one + two + three + four
    assert '| Super Resolution | GAVN w/o IF | 35.7568 |' in three
    assert '**0.9850**' in three and '0.9859' in three
    assert '| NIQE ↓ | 6.5407 | 6.2761 | <ins>6.1620</ins> | 6.1762 | **6.1549** |' in four


def test_gains_are_the_paper_s_but_for_its_slip(shared):
    text = (shared / 'paper.txt').read_text(encoding='utf-8')
    printed = re.findall(r'\((\+\d\.\d{4})\)', text)
    ours = [row[-1].after.strip(' ()') for block in paper_table(2).blocks for row in block]
    assert len(printed) == 9 and ours == ['+0.2511' if gain == '+0.2923' else gain for gain in printed]
