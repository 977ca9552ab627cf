static double f64(const uint64_t *word)
{
    double value;
    memcpy(&value, word, sizeof value);
    return value;
}

static float f32(const uint32_t *word)
{
    float value;
    memcpy(&value, word, sizeof value);
    return value;
}

static double clip(double x, double low, double high)
{
    return x < low ? low : x > high ? high : x;
}

static double tame(double x)
{
    return fabs(x) < 1e-150 ? 0.0 : clip(x, -1e150, 1e150);
}

static double smooth_clip(double x, double bound)
{
    const double cut = clip(x, -1e8, 1e8), share = cut / bound;
    return cut / sqrt(1 + share * share);
}

/* How many of n ascending edges are <= x. */
static uint32_t count_up_to(double x, const uint64_t *edges, uint32_t n)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (f64(edges + middle) <= x) low = middle + 1;
        else high = middle;
    }
    return low;
}

/* How many of n ascending edges are < x. */
static uint32_t count_below(double x, const uint64_t *edges, uint32_t n)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (f64(edges + middle) < x) low = middle + 1;
        else high = middle;
    }
    return low;
}

static double interpolate(double x, const uint64_t *knots, const uint64_t *places, uint32_t n)
{
    const uint32_t i = isnan(x) ? 0 : count_up_to(x, knots, n);
    double knot, place;
    if (isnan(x)) return x;
    if (i == 0) return f64(places);
    if (i == n) return f64(places + n - 1);
    knot = f64(knots + i - 1);
    place = f64(places + i - 1);
    return (f64(places + i) - place) / (f64(knots + i) - knot) * (x - knot) + place;
}

static double pick(const uint64_t *values, uint32_t n, uint32_t i)
{
    return f64(values + (i < n ? i : n - 1));
}

/* Code of a text of some length in a table that is sorted by its bytes; 1 for none. */
static uint32_t find(const char *text, size_t length, const char *const *table, const uint16_t *codes, uint32_t n)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        int order = strncmp(table[middle], text, length);
        if (order == 0) order = table[middle][length] != 0;
        if (order == 0) return codes[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return 1;
}

static int is_word(const char *text, const char *word)
{
    while (*word && (*text == *word || *text == *word - 'a' + 'A')) text++, word++;
    return !*word && !*text;
}

/* Length of a decimal number without the zeros at its end, and without its point then: 1.50 is 1.5, 3.0 is 3. */
static size_t without_zeros(const char *text)
{
    const size_t length = strlen(text);
    const size_t start = *text == '-', whole = strspn(text + start, "0123456789");
    const size_t point = start + whole;
    size_t end = length;
    if (whole == 0 || text[point] != '.' || (text[start] == '0' && whole > 1)) return length;
    if (point + 1 == length || point + 1 + strspn(text + point + 1, "0123456789") != length) return length;
    while (text[end - 1] == '0') end--;
    return text[end - 1] == '.' ? end - 1 : end;
}

/* 0 where missing, 1 for what is no level; true and True, 3 and 3.0 are the same. */
static uint32_t code_of(const char *text, const char *const *levels, const uint16_t *codes, uint32_t n,
                        const char *const *values, const uint16_t *codes_of_values, uint32_t n_values)
{
    uint32_t code;
    if (text == NULL || *text == 0) return 0;
    code = find(text, strlen(text), levels, codes, n);
    if (code != 1) return code;
    if (is_word(text, "true")) text = "true";
    if (is_word(text, "false")) text = "false";
    return find(text, without_zeros(text), values, codes_of_values, n_values);
}

static int64_t floor_divide(int64_t x, int64_t by)
{
    const int64_t quotient = x / by;
    return quotient - (x % by < 0);
}

static int64_t modulo(int64_t x, int64_t by)
{
    const int64_t rest = x % by;
    return rest < 0 ? rest + by : rest;
}

/* What clocks of a zone show: offsets from quarter-hours on, which repeat after 400 years from 2100 on. */
static int64_t in_zone(int64_t date, const int64_t *quarters, const int64_t *offsets, uint32_t n)
{
    int64_t quarter = floor_divide(date, 900000000);
    uint32_t low = 0, high = n;
    if (quarter < -69039456) quarter = -69039456;
    if (quarter > 281558016) quarter = 281558016;
    if (quarter > 4557887) quarter = modulo(quarter - 4557888, 14025312) + 4557888;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (quarters[middle] <= quarter) low = middle + 1;
        else high = middle;
    }
    return date + offsets[low];
}

static int64_t day_of_cycle(int64_t date)
{
    return modulo(floor_divide(date, 86400000000) + 719468, 146097);
}

static int64_t year_of_cycle(int64_t day)
{
    return (day - day / 1460 + day / 36524 - day / 146096) / 365;
}

static int64_t since_march(int64_t date)
{
    const int64_t day = day_of_cycle(date), year = year_of_cycle(day);
    return day - (365 * year + year / 4 - year / 100);
}

static int64_t part_month(int64_t date)
{
    return ((5 * since_march(date) + 2) / 153 + 2) % 12;
}

static int64_t part_monthday(int64_t date)
{
    const int64_t day = since_march(date), month = (5 * day + 2) / 153;
    return day - (153 * month + 2) / 5;
}

static int64_t part_yearday(int64_t date)
{
    const int64_t day = since_march(date), year = year_of_cycle(day_of_cycle(date));
    const int is_leap = (year % 4 == 0 && year % 100 != 0) || year == 0;
    return day < 306 ? day + 59 + is_leap : day - 306;
}

static int64_t part_weekday(int64_t date)
{
    return modulo(floor_divide(date, 86400000000) + 3, 7);
}

static double part_hour(int64_t date)
{
    return (double)modulo(date, 86400000000) / 3600000000.0;
}

static uint32_t bucket(uint64_t hash)
{
    hash = (hash ^ (hash >> 31)) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ (hash >> 29)) * 0x9E3779B97F4A7C15u;
    return (uint32_t)(hash >> 45);
}

static void count_term(uint32_t hash, const uint32_t *buckets, const uint16_t *terms, uint32_t n, uint16_t *counts)
{
    uint32_t low = 0, high = n;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (buckets[middle] < hash) low = middle + 1;
        else high = middle;
    }
    if (low < n && buckets[low] == hash) counts[terms[low]]++;
}

/* Count the words, pairs of words and pieces of words of a text; how many words, -1 for letters beyond ASCII. */
static int32_t count_terms(const char *text, const uint32_t *buckets, const uint16_t *terms, uint32_t n, uint16_t *counts)
{
    uint64_t last[5] = {0, 0, 0, 0, 0}, word = 0, power = 1, before = 0;
    uint32_t n_last = 1, place;
    int32_t n_words = 0;
    for (place = 0; place <= 20000; place++) {
        unsigned char letter = place < 20000 ? (unsigned char)text[place] : 0;
        const int is_end = letter == 0;
        uint64_t value = 0;
        uint32_t size;
        if (letter > 127) return -1;
        if (letter >= 'A' && letter <= 'Z') letter = (unsigned char)(letter - 'A' + 'a');
        if ((letter >= 'a' && letter <= 'z') || (letter >= '0' && letter <= '9') || (letter && strchr("$+<=>^`|~", letter)))
            value = ((uint64_t)letter + 1) * 0xBF58476D1CE4E5B9u;
        if (value == 0 && last[4] == 0) {
            if (is_end) break;
            continue;
        }
        memmove(last, last + 1, 4 * sizeof *last);
        last[4] = value;
        if (n_last < 5) n_last++;
        for (size = 3; size <= n_last; size++) {
            uint64_t piece = last[5 - size];
            uint32_t i, n_inside = 0;
            for (i = 6 - size; i < 5; i++) piece = piece * 0x9E3779B97F4A7C15u + last[i];
            for (i = 6 - size; i < 4; i++) n_inside += last[i] != 0;
            if (n_inside == size - 2) count_term(bucket(piece ^ size) + 524288, buckets, terms, n, counts);
        }
        if (value) {
            word += value * power;
            power *= 0x9E3779B97F4A7C15u;
            continue;
        }
        count_term(bucket(word), buckets, terms, n, counts);
        if (n_words) count_term(bucket((before * 0xBF58476D1CE4E5B9u + word) ^ 1), buckets, terms, n, counts);
        before = word;
        word = 0;
        power = 1;
        n_words++;
        if (is_end) break;
    }
    return n_words;
}

/* Numbers of the counts of a text's terms; y: width + 1 numbers. */
static void text_vector(const uint16_t *counts, int32_t n_words, uint32_t n, uint32_t n_word_terms, uint32_t width,
                        const uint32_t *weights, const uint32_t *projection, const uint64_t *center, const uint64_t *scale, double *y)
{
    double lengths[2] = {0, 0};
    uint32_t term, i;
    for (i = 0; i < width; i++) y[i] = 0;
    for (term = 0; term < n; term++) {
        if (counts[term]) {
            const double value = (1 + log(counts[term])) * (double)f32(weights + term);
            lengths[term >= n_word_terms] += value * value;
        }
    }
    for (term = 0; term < n; term++) {
        if (counts[term]) {
            const double value = (1 + log(counts[term])) * (double)f32(weights + term) / sqrt(lengths[term >= n_word_terms]);
            for (i = 0; i < width; i++) y[i] += value * (double)f32(projection + (size_t)term * width + i);
        }
    }
    y[width] = log1p(n_words);
    for (i = 0; i <= width; i++) y[i] = (y[i] - f64(center + i)) / f64(scale + i);
}

static void columns(const float *x, const uint16_t *places, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[places[i]];
}

static void look_up(const float *x, uint32_t place, const uint32_t *table, uint32_t width, float *y)
{
    const uint32_t *row = table + (size_t)x[place] * width;
    uint32_t i;
    for (i = 0; i < width; i++) y[i] = f32(row + i);
}

static void affine(const float *x, const uint32_t *scale, const uint32_t *shift, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] * f32(scale + i) + f32(shift + i);
}

static void linear(const float *x, const uint32_t *weight, const uint32_t *bias, uint32_t n_in, uint32_t n_out, float *y)
{
    uint32_t i, j;
    for (i = 0; i < n_out; i++, weight += n_in) {
        float sums[4] = {0, 0, 0, 0};
        for (j = 0; j + 4 <= n_in; j += 4) {
            sums[0] += f32(weight + j) * x[j];
            sums[1] += f32(weight + j + 1) * x[j + 1];
            sums[2] += f32(weight + j + 2) * x[j + 2];
            sums[3] += f32(weight + j + 3) * x[j + 3];
        }
        for (; j < n_in; j++) sums[0] += f32(weight + j) * x[j];
        y[i] = (sums[0] + sums[1]) + (sums[2] + sums[3]) + f32(bias + i);
    }
}

static void ramp(const float *x, const uint32_t *start, const uint32_t *width, const uint32_t *low, const uint32_t *high, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) {
        const float share = (x[i] - f32(start + i)) / f32(width + i), least = f32(low + i), most = f32(high + i);
        y[i] = share < least ? least : share > most ? most : share;
    }
}

static float softplus_of(float x)
{
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

static float sigmoid_of(float x)
{
    return 1 / (1 + expf(-x));
}

static void elu(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : expm1f(x[i]);
}

static void gelu(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] * 0.5f * (1 + erff(x[i] * 0.70710678118654752f));
}

static void leaky_relu(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0.01f * x[i];
}

static void mish(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] * tanhf(softplus_of(x[i]));
}

static void relu(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : 0;
}

static void selu(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = 1.0507009873554805f * (x[i] > 0 ? x[i] : 1.6732632423543772f * expm1f(x[i]));
}

static void sigmoid(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = sigmoid_of(x[i]);
}

static void silu(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] * sigmoid_of(x[i]);
}

static void softplus(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = softplus_of(x[i]);
}

static void hyperbolic_tangent(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = tanhf(x[i]);
}

static void prelu(const float *x, const uint32_t *slope, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] > 0 ? x[i] : f32(slope + i) * x[i];
}

static void cosine(const float *x, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = cosf(x[i]);
}

static void layer_norm(const float *x, const uint32_t *scale, const uint32_t *shift, uint32_t n, float *y)
{
    float mean = 0, variance = 0;
    uint32_t i;
    for (i = 0; i < n; i++) mean += x[i] / (float)n;
    for (i = 0; i < n; i++) variance += (x[i] - mean) * (x[i] - mean) / (float)n;
    for (i = 0; i < n; i++) y[i] = (x[i] - mean) / sqrtf(variance + 1e-5f) * f32(scale + i) + f32(shift + i);
}

static void add(const float *x, const float *z, uint32_t n, float *y)
{
    uint32_t i;
    for (i = 0; i < n; i++) y[i] = x[i] + z[i];
}

static void mean_of_groups(const float *x, uint32_t n_groups, uint32_t n, float *y)
{
    uint32_t i, group;
    for (i = 0; i < n; i++) {
        float sum = 0;
        for (group = 0; group < n_groups; group++) sum += x[group * n + i];
        y[i] = sum / (float)n_groups;
    }
}

static void log_softmax(const float *x, uint32_t n_groups, uint32_t n, float *y)
{
    uint32_t i, group;
    for (group = 0; group < n_groups; group++, x += n, y += n) {
        float most = x[0], sum = 0;
        for (i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
        for (i = 0; i < n; i++) sum += expf(x[i] - most);
        for (i = 0; i < n; i++) y[i] = x[i] - most - logf(sum);
    }
}

static void log_mean_exp(const float *x, uint32_t n_groups, uint32_t n, float *y)
{
    uint32_t i, group;
    for (i = 0; i < n; i++) {
        float most = x[i], sum = 0;
        for (group = 1; group < n_groups; group++) most = x[group * n + i] > most ? x[group * n + i] : most;
        for (group = 0; group < n_groups; group++) sum += expf(x[group * n + i] - most);
        y[i] = most + logf(sum / (float)n_groups);
    }
}

static void sorted(double *x, uint32_t n)
{
    uint32_t i, j;
    for (i = 1; i < n; i++) {
        const double value = x[i];
        for (j = i; j > 0 && x[j - 1] > value; j--) x[j] = x[j - 1];
        x[j] = value;
    }
}

static void softmax(const float *x, uint32_t n, double *y)
{
    float most = x[0];
    double sum = 0;
    uint32_t i;
    for (i = 1; i < n; i++) most = x[i] > most ? x[i] : most;
    for (i = 0; i < n; i++) {
        const float z = x[i] - most;
        y[i] = expf(z > -87.0f ? z : -87.0f);
        sum += y[i];
    }
    for (i = 0; i < n; i++) y[i] /= sum;
}
