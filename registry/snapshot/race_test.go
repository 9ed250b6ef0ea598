//go:build race

package snapshot_test

// raceDetector says that memory is not what it is without it.
const raceDetector = true
