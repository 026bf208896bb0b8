// A plugin of the emulator: instructions executed, by case and function. A case begins whenever the program calls
// count_begin and lasts until it calls count_end; the n-th call begins case n. Threads are not told apart.
//
//   qemu-aarch64 -plugin ./plugin.so,out=FILE PROGRAM
//
// FILE gets "symbol CASE NAME INSTRUCTIONS", and "block CASE ADDRESS LENGTH TIMES" of the blocks of each case that executed
// most instructions: its innermost loops.
//
// What is declared of the emulator's plugin interface (version 1, which Debian 12's emulator has) is what is used.
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *, void (*)(unsigned, void *), int flags, void *);
void qemu_plugin_register_atexit_cb(plugin_id, void (*)(plugin_id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

enum { NAMES = 4096, BLOCKS = 65536, CASES = 256, HOTTEST = 32 };

struct block {
    uint64_t address, length, times;
    unsigned name;
};

static char names[NAMES][96];
static struct block blocks[BLOCKS];
static uint64_t counts[CASES][NAMES];
static struct block hottest[CASES][HOTTEST];  // most instructions first
static unsigned name_count, block_count, case_count;
static bool counting, overflow;
static char path[4096];

static unsigned interned(const char *name) {
    unsigned i = 0;
    while (i < name_count && strncmp(names[i], name, sizeof names[i] - 1) != 0) i++;
    if (i == NAMES) return overflow = true, 0;
    if (i == name_count) strncpy(names[name_count++], name, sizeof names[i] - 1);
    return i;
}

static void executed(unsigned cpu, void *data) {
    (void)cpu;
    struct block *block = data;
    if (!counting) return;
    counts[case_count - 1][block->name] += block->length;
    block->times++;
}

static void begin(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    if (case_count == CASES) overflow = true;
    else case_count++;
    for (unsigned i = 0; i < block_count; i++) blocks[i].times = 0;
    counting = !overflow;
}

static void end(unsigned cpu, void *data) {
    (void)cpu, (void)data;
    counting = false;
    if (case_count == 0) return;
    struct block *top = hottest[case_count - 1];
    for (unsigned i = 0; i < block_count; i++) {
        const uint64_t executed = blocks[i].times * blocks[i].length;
        unsigned at = HOTTEST;
        while (at > 0 && executed > top[at - 1].times * top[at - 1].length) at--;
        if (at == HOTTEST) continue;
        memmove(top + at + 1, top + at, (HOTTEST - 1 - at) * sizeof *top);
        top[at] = blocks[i];
    }
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
    (void)id;
    const char *name = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(tb, 0));
    if (name == NULL) name = "?";
    if (strcmp(name, "count_begin") == 0) return qemu_plugin_register_vcpu_tb_exec_cb(tb, begin, 0, NULL);
    if (strcmp(name, "count_end") == 0) return qemu_plugin_register_vcpu_tb_exec_cb(tb, end, 0, NULL);
    if (block_count == BLOCKS) {
        overflow = true;
        return;
    }
    struct block *block = &blocks[block_count++];
    *block = (struct block){qemu_plugin_tb_vaddr(tb), qemu_plugin_tb_n_insns(tb), 0, interned(name)};
    qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
}

static void report(plugin_id id, void *data) {
    (void)id, (void)data;
    FILE *file = fopen(path, "w");
    if (file == NULL) return;
    for (unsigned c = 0; c < case_count; c++) {
        for (unsigned i = 0; i < name_count; i++)
            if (counts[c][i] > 0) fprintf(file, "symbol %u %s %llu\n", c, names[i], (unsigned long long)counts[c][i]);
        for (unsigned i = 0; i < HOTTEST && hottest[c][i].times > 0; i++)
            fprintf(file, "block %u %#llx %llu %llu\n", c, (unsigned long long)hottest[c][i].address,
                    (unsigned long long)hottest[c][i].length, (unsigned long long)hottest[c][i].times);
    }
    // Without its last line a report is incomplete.
    if (!overflow) fprintf(file, "complete %u\n", case_count);
    fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv) {
    (void)info;
    if (argc != 1 || strncmp(argv[0], "out=", 4) != 0 || strlen(argv[0] + 4) >= sizeof path) return 1;
    strcpy(path, argv[0] + 4);
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, report, NULL);
    return 0;
}
