"""Stands in for gavn/train.py and gavn/test.py: `python tests/helpers/fake_pipeline.py train -opt FILE`.

It reports and resumes as they do, in no time, and needs no torch. `$FAKES` is a JSON file, by method:
`seconds` of an iteration, for all phases or by the name of one, `tested`, seconds of a test, `fail`, to end
with an error, and `lost`, to kill the process that started it.
"""
import json
import os
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
HEADER = ('dataset,degradation,method,clip,frames,psnr,'
          'option_file,checkpoint,parameters,gmacs,fps,iterations,minutes,notes')


def fakes(name: str) -> dict:
    """What `$FAKES` says of a run, by the end of its name."""
    said = json.loads(Path(os.environ['FAKES']).read_text()) if 'FAKES' in os.environ else {}
    return next((value for key, value in said.items() if name.endswith(key)), {})


def pretend_training(opt: dict) -> None:
    """Iterations that only pass the time; the weights are their number."""
    said, folder = fakes(opt['name']), ROOT / opt['path']['experiments_root'] / opt['name']
    label = 'net_l' if 'network_g' not in opt else 'net_g'
    names = [phase['name'] for phase in opt['train']['phases'] for _ in range(min(phase['iters'], 10_000))]
    total = len(names)
    (folder / 'models').mkdir(parents=True, exist_ok=True)
    state = folder / 'state'
    done = int(state.read_text()) if state.exists() else 0
    with (folder / 'starts').open('a') as file:
        file.write(f'{done} {os.environ["OMP_NUM_THREADS"]}\n')
    seconds = said.get('seconds', 0)
    for iteration in range(done + 1, total + 1):
        time.sleep(seconds[names[iteration - 1]] if isinstance(seconds, dict) else seconds)
        stamp = datetime.now().strftime('%Y-%m-%d %H:%M:%S,%f')[:-3]
        print(f'{stamp} INFO: [fake..][epoch:  0, iter:{iteration:8,d}, lr:(1.000e-03,)] [eta: 0:00:01, '
              'time (data): 0.1 (0.0)] l_pix: 1.0e-02 ', flush=True)
        if said.get('fail'):
            sys.exit('error: training diverged\nlower the learning rate')
        if said.get('lost'):
            os.kill(os.getppid(), signal.SIGKILL)
            signal.pause()  # its own end comes now; a state file half written would fail the next start
        if iteration % opt['logger']['save_checkpoint_freq'] == 0:
            state.write_text(str(iteration))
            if 'val' in opt['datasets']:
                write_results(folder / f'metrics/val_{iteration}.csv', opt['name'])
    (folder / 'budget.json').write_text(json.dumps({'minutes': 1.25}))
    (folder / 'models' / f'{label}_latest.pth').write_text(f'{opt["name"]} {total}')


def write_results(path: Path, method: str) -> None:
    """In the format of `gavn.metrics.results_file`."""
    rows = [f'data,blur,{name},{clip},7,{0 if clip == "std" else psnr},,,1000,,2.5,5,,'
            for name, psnr in ((method, 30.5), ('degraded input', 29.0))
            for clip in ('one', 'two', 'mean', 'std')]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('\n'.join([HEADER, *rows]) + '\n')


def pretend_test(opt: dict) -> None:
    """Results without any network."""
    time.sleep(fakes(opt['name']).get('tested', 0))
    for section in opt['datasets'].values():
        write_results(ROOT / opt['path']['results_root'] / opt['name'] / f'{section["name"]}.csv',
                      opt.get('method') or opt['network_g']['type'])


if __name__ == '__main__':
    options = yaml.safe_load(Path(sys.argv[sys.argv.index('-opt') + 1]).read_text())
    {'train': pretend_training, 'test': pretend_test}[sys.argv[1]](options)
