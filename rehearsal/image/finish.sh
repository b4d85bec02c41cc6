#!/usr/bin/env bash
# Inside the image: the services a node needs and no others; nothing stays that differs from node to node.
set -euo pipefail

systemctl --quiet enable systemd-networkd.service
# A node lives for minutes: no timers; its consoles, clocks and devices are the host's.
systemctl --quiet mask \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \
  e2scrub_reap.service systemd-pstore.service console-getty.service getty@tty1.service \
  cloud-init-hotplugd.socket mdmonitor.service

# The environment must work before anybody boots it; this imports nearly all of it.
/opt/vllm/bin/python -c 'import boto3'
/opt/vllm/bin/vllm bench serve --help > /dev/null

rm -f /etc/ssh/ssh_host_* /etc/resolv.conf /etc/hostname /var/lib/dbus/machine-id
: > /etc/machine-id
find /var/log /var/cache/apt /tmp /var/tmp -mindepth 1 -type f -delete
