// Package tidy holds the law of the house as tests: who may import whom, what the
// pure rooms may not touch, and that documents say what is there. Changing a
// table here takes an ADR.
package tidy
