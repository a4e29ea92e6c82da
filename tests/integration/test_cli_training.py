"""`gavn train` and `gavn test`: their scripts, help and errors."""
import re
import sys
from importlib import import_module

import pytest

from gavn.cli.main import main
from gavn.errors import CheckpointError, RunError


@pytest.mark.parametrize('verb', ['train', 'test'])
def test_the_scripts_of_train_and_test_are_the_same_commands(verb, monkeypatch, tmp_path):
    seen, opt = [], tmp_path / 'o.yml'
    opt.write_text('name: x')
    monkeypatch.setattr('gavn.basicsr_patches.run_pipeline', lambda kind, args: seen.append(
        (kind, args.opt, args.auto_resume, args.force_yml, args.local_rank)))
    arguments = ['-opt', str(opt), '--auto_resume', '--local-rank=3', '--force_yml', 'a:b=1']
    assert main([verb, *arguments]) == 0
    monkeypatch.setattr(sys, 'argv', [f'gavn/{verb}.py', *arguments])
    assert import_module(f'gavn.{verb}').main() == 0
    assert seen == 2 * [(verb, str(opt), True, ['a:b=1'], 3)]


@pytest.mark.parametrize(('verb', 'argument'), [
    ('train', '--auto_resume'), ('test', '--launcher'), ('prepare', '--split-counts')])
def test_every_verb_shows_its_arguments(verb, argument, capsys):
    with pytest.raises(SystemExit) as stop:
        main([verb, '--help'])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert argument in said and said.startswith(f'usage: gavn {verb} ')


def test_the_help_of_a_test_is_not_about_training(capsys):
    with pytest.raises(SystemExit):
        main(['test', '--help'])
    said = ' '.join(capsys.readouterr().out.split())
    assert '--debug name the run debug_NAME --' in said
    assert not re.search('auto_resume|iteration|checkpoint|train', said)


def test_a_training_is_no_test(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr('gavn.basicsr_patches.run_pipeline', lambda *_: pytest.fail('the test starts'))
    assert main(['test', '-opt', 'options/train_gavn_car.yml']) == 2
    assert re.fullmatch(r'error: (.*)options/train_gavn_car\.yml describes a training: test its weights with '
                        r'-opt \1options/test_gavn_car\.yml\n', capsys.readouterr().err)
    own = tmp_path / 'run.yml'
    own.write_text('train: {total_iter: 1}\ndatasets: {train: {name: a}, val: {name: b}}\n')
    assert main(['test', '-opt', str(own)]) == 2
    assert re.fullmatch(f'error: {own} describes a training: a test needs .* path.pretrain_network_g .*\n',
                        capsys.readouterr().err)


def test_a_file_without_data_for_training_is_a_test(monkeypatch, tmp_path):
    tested, own = [], tmp_path / 'run.yml'
    own.write_text('train: {total_iter: 1}\ndatasets: {val: {name: b}}\n')
    monkeypatch.setattr('gavn.basicsr_patches.run_pipeline', lambda kind, args: tested.append(kind))
    assert main(['test', '-opt', str(own)]) == 0 and tested == ['test']


@pytest.mark.parametrize(('error', 'code', 'words'), [
    (RunError('it diverged'), 1, 'error: it diverged'), (CheckpointError('bad'), 5, 'error: bad'),
    (KeyboardInterrupt(), 130, '--auto_resume')])
def test_errors_of_training_end_as_those_of_other_verbs(error, code, words, tmp_path, monkeypatch, capsys):
    opt = tmp_path / 'o.yml'
    opt.write_text('name: x')

    def fail(*_):
        raise error

    monkeypatch.setattr('gavn.basicsr_patches.run_pipeline', fail)
    assert main(['train', '-opt', str(opt)]) == code
    said = capsys.readouterr().err
    assert words in said and 'Traceback' not in said
