"""Rows of result files for the tests of tables."""


from gavn.metrics.results_file import DEGRADED, TRUTH, ResultRow, RunInfo

ORIGIN = {'option_file': 'options/test_gavn_deblur.yml', 'checkpoint': '0123456789ab', 'parameters': 7049539,
          'gmacs': 91.46, 'fps': 12.34, 'iterations': 60000, 'minutes': 75.4}


def rows(method, values, layer='blur', data='speakers', clips=('anna', 'bob'), notes='', **origin):
    """Rows of clips whose values lie 1 below and 1 above those given."""
    run = RunInfo(data, layer, method, **origin)
    return [ResultRow(run, clip, 10, {
        name: None if value is None else value + 2 * place / (len(clips) - 1 or 1) - 1
        for name, value in values.items()}, notes)
            for place, clip in enumerate(clips)]


def references(layer='blur', data='speakers', psnr=25.0):
    return [*rows(DEGRADED, {'psnr': psnr, 'lpips': 0.5, 'sync_c': 2.0}, layer, data),
            *rows(TRUTH, {'sync_c': 6.0}, layer, data)]
