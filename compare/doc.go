// Package compare is the laboratory: it measures NackMQ as a whole process, from
// outside, beside what it is compared with, in one run.
//
// Its benchmarks start the real binary and Debian's mosquitto on free ports of
// 127.0.0.1, take turns between the two, and report rates, ratios and the CPU
// time of the broker's process as the kernel counts it. The load generator
// shares the machine, so absolute rates say little; ratios of one run say more.
package compare
