/* What is compiled once for each instruction set: NAME, TARGET and LANES (numbers of a vector) say which. */

TARGET INLINE void NAME(to_float)(float *restrict to, const uint16_t *restrict from, int count)
{
    for (int q = 0; q < count; q++) {
        union { uint32_t bits; float number; } wide = {(uint32_t)from[q] << 16};
        to[q] = wide.number;
    }
}

/* 1 / (1 + 2^t), 2^t as 2^whole times a polynomial that is right to 2e-7 for t within 1/2. */
TARGET INLINE void NAME(sigmoid)(float *restrict to, const float *restrict from, int count)
{
    const float rounder = 12582912.f; /* 1.5 * 2^23: adding it rounds to whole numbers */
    for (int q = 0; q < count; q++) {
        float t = from[q] * -1.44269504f;
        t = t > 126.f ? 126.f : t; /* what is no number stays none */
        t = t < -126.f ? -126.f : t;
        union { float number; uint32_t bits; } whole = {t + rounder}, power;
        const float f = t - (whole.number - rounder);
        float p = 1.33908633e-3f; /* Chebyshev interpolation of 2^f, degree 5 */
        p = p * f + 9.67603177e-3f;
        p = p * f + 5.55035695e-2f;
        p = p * f + 2.40221068e-1f;
        p = p * f + 6.93147182e-1f;
        p = p * f + 1.00000012f;
        power.bits = (whole.bits + 127u) << 23;
        to[q] = 1.f / (1.f + p * power.number);
    }
}

/* For every point of an output pixel: its upper left pixel, and what that and its three neighbours count. */
TARGET INLINE void NAME(find_corners)(const Layer *layer, const Scratch *scratch, Place place,
                                      const float *offset, const float *mask)
{
    const int points = scratch->points, channels = (int)layer->channels;
    const int pitch = ((int)layer->width + 2 * BORDER) * channels;
    const float bottom = (float)(layer->height + BORDER), right = (float)(layer->width + BORDER);
    const float top = (float)(place.row * layer->stride_y), left = (float)(place.column * layer->stride_x);
    const float *tap_y = scratch->y, *tap_x = scratch->x;
    int32_t *corner = scratch->corner;
    float *nw = scratch->share, *ne = nw + points, *sw = ne + points, *se = sw + points;
    INDEPENDENT
    for (int q = 0; q < points; q++) {
        const float dy = offset[2 * q], dx = offset[2 * q + 1];
        float y = top + tap_y[q] + dy, x = left + tap_x[q] + dx;
        y = y > 0.f ? y : 0.f; /* so that whatever comes, nothing is read outside */
        y = y < bottom ? y : bottom;
        x = x > 0.f ? x : 0.f;
        x = x < right ? x : right;
        const int row = (int)y, column = (int)x;
        const float below = y - (float)row, beside = x - (float)column;
        const float whole = mask[q] + (0.f * dy + 0.f * dx); /* offsets that are no finite numbers show */
        const float lower = whole * below, upper = whole - lower;
        const float upper_right = upper * beside, lower_right = lower * beside;
        corner[q] = row * pitch + column * channels;
        nw[q] = upper - upper_right;
        ne[q] = upper_right;
        sw[q] = lower - lower_right;
        se[q] = lower_right;
    }
}

/* The corners of the output pixel at `place`, the `pixel`th of all. */
TARGET INLINE void NAME(look)(const Layer *layer, const Scratch *scratch, int64_t pixel, Place place)
{
    const int points = scratch->points, size = layer->bfloat16 ? 2 : 4;
    const char *offset = (const char *)layer->offset + pixel * layer->offset_step * size;
    const char *mask = (const char *)layer->mask + pixel * layer->mask_step * size;
    for (int i = 0; i < 2 * points * size; i += 64)
        PREFETCH(offset + AHEAD * layer->offset_step * size + i);
    for (int i = 0; i < points * size; i += 64)
        PREFETCH(mask + AHEAD * layer->mask_step * size + i);
    if (layer->bfloat16) {
        NAME(to_float)(scratch->numbers, (const uint16_t *)offset, 2 * points);
        NAME(to_float)(scratch->numbers + 2 * points, (const uint16_t *)mask, points);
        offset = (const char *)scratch->numbers;
        mask = (const char *)(scratch->numbers + 2 * points);
    }
    if (layer->sigmoid) {
        NAME(sigmoid)(scratch->mask, (const float *)mask, points);
        mask = (const char *)scratch->mask;
    }
    NAME(find_corners)(layer, scratch, place, (const float *)offset, (const float *)mask);
}

/* Columns (units, taps, unit) of one output pixel. Four channels at a time: what is too much is overwritten
 * by the next tap. */
TARGET INLINE void NAME(sample)(const Layer *layer, const Scratch *scratch, const float *restrict x,
                                float *restrict to, int quads)
{
    const int points = scratch->points, taps = (int)(layer->kernel_y * layer->kernel_x);
    const int units = (int)(layer->channels / layer->unit), shared = units / (int)layer->deform_groups;
    const int64_t channels = layer->channels, pitch = (layer->width + 2 * BORDER) * channels;
    for (int u = 0; u < units; u++, x += layer->unit) {
        const int first = u / shared * taps;
        for (int q = first; q < first + taps; q++, to += layer->unit) {
            const float *restrict p = x + scratch->corner[q], *restrict below = p + pitch;
            const float nw = scratch->share[q], ne = scratch->share[points + q];
            const float sw = scratch->share[2 * points + q], se = scratch->share[3 * points + q];
            for (int k = 0; k < 4 * quads; k += 4)
                for (int i = k; i < k + 4; i++)
                    to[i] = nw * p[i] + ne * p[channels + i] + sw * below[i] + se * below[channels + i];
        }
    }
}

/* bias + columns (TILE, depth, `step` apart) times weights (depth, row), of `wide` vectors of outputs. */
TARGET INLINE void NAME(multiply)(const float *restrict columns, int64_t step, int depth,
                                  const float *restrict weight, int64_t row, const float *restrict bias,
                                  float *restrict sums, int wide)
{
#if defined(__GNUC__)
    typedef float vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
    enum { LENGTH = 1 };
#else
    typedef float vector;
    enum { LENGTH = LANES };
#endif
    vector sum[TILE][PANEL * LENGTH];
    for (int p = 0; p < TILE; p++)
        for (int v = 0; v < wide * LENGTH; v++)
            sum[p][v] = ((const vector *)bias)[v];
    for (int k = 0; k < depth; k++) {
        const vector *w = (const vector *)(weight + k * row);
        for (int p = 0; p < TILE; p++)
            for (int v = 0; v < wide * LENGTH; v++)
                sum[p][v] += columns[p * step + k] * w[v];
    }
    for (int p = 0; p < TILE; p++)
        for (int v = 0; v < wide * LENGTH; v++)
            ((vector *)(sums + p * PANEL * LANES))[v] = sum[p][v];
}

/* Up to PANEL vectors of outputs, from the `from`th of a group on, of up to TILE pixels. */
TARGET INLINE void NAME(put)(const Layer *layer, const float *columns, int group, int from, int pixels,
                             float *result)
{
    const int taps = (int)(layer->kernel_y * layer->kernel_x);
    const int depth = (int)(layer->channels / layer->groups) * taps;
    const int outputs = (int)(layer->outputs / layer->groups), left = (outputs - from + LANES - 1) / LANES;
    const float *weight = layer->weight + (int64_t)group * depth * layer->row + from;
    const float *bias = layer->bias + group * layer->row + from, slope = (float)layer->slope;
    const int64_t step = layer->channels * taps;
    float sums[TILE * PANEL * LANES];
    columns += (int64_t)group * depth;
    if (left >= 3)
        NAME(multiply)(columns, step, depth, weight, layer->row, bias, sums, 3);
    else if (left == 2)
        NAME(multiply)(columns, step, depth, weight, layer->row, bias, sums, 2);
    else
        NAME(multiply)(columns, step, depth, weight, layer->row, bias, sums, 1);
    const int count = outputs - from < PANEL * LANES ? outputs - from : PANEL * LANES;
    result += group * outputs + from;
    for (int p = 0; p < pixels; p++)
        for (int i = 0; i < count; i++) {
            const float sum = sums[p * PANEL * LANES + i];
            result[p * layer->outputs + i] = sum > 0.f ? sum : sum * slope;
        }
}

/* Output pixels `first` to before `last`, of all images in one row. */
TARGET static void NAME(convolve)(const Layer *layer, const Scratch *scratch, int64_t first, int64_t last)
{
    const int64_t depth = layer->channels * layer->kernel_y * layer->kernel_x;
    const int64_t image_floats = (layer->height + 2 * BORDER) * (layer->width + 2 * BORDER) * layer->channels;
    const int64_t pixels = layer->out_height * layer->out_width;
    const int outputs = (int)(layer->outputs / layer->groups), quads = (int)(layer->unit + 3) / 4;
    Place place = {first / pixels, (int)(first % pixels / layer->out_width), (int)(first % layer->out_width)};
    for (int64_t start = first; start < last; start += BLOCK) {
        const int count = last - start < BLOCK ? (int)(last - start) : BLOCK;
        for (int p = 0; p < count; p++) {
            const float *x = layer->x + place.image * image_floats;
            NAME(look)(layer, scratch, start + p, place);
            if (quads == 1)
                NAME(sample)(layer, scratch, x, scratch->columns + p * depth, 1);
            else
                NAME(sample)(layer, scratch, x, scratch->columns + p * depth, quads);
            if (++place.column == layer->out_width) {
                place.column = 0;
                if (++place.row == layer->out_height) {
                    place.row = 0;
                    place.image++;
                }
            }
        }
        for (int group = 0; group < layer->groups; group++)
            for (int from = 0; from < outputs; from += PANEL * LANES)
                for (int p = 0; p < count; p += TILE)
                    NAME(put)(layer, scratch->columns + p * depth, group, from,
                              count - p < TILE ? count - p : TILE,
                              layer->result + (start + p) * layer->outputs);
    }
}
