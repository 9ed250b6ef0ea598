package store

import (
	"os"
	"strings"

	"github.com/modyard/modyard/schema"
)

// machineID names this machine, without telling its name.
func machineID() string {
	for _, f := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if data, err := os.ReadFile(f); err == nil && len(strings.TrimSpace(string(data))) > 0 {
			return schema.DigestBytes(data).Hex()[:16]
		}
	}
	name, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return schema.DigestBytes([]byte(name)).Hex()[:16]
}
