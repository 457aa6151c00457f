# U-Boot's side of Backend=uboot with UbootVariables=rauc: starts the first slot of BOOT_ORDER that has starts left, and
# takes one of a trial's before it starts it. Made into the script that U-Boot's distro boot looks for by
#     mkimage -A arm64 -T script -C none -d uboot-boot.cmd boot.scr
# docs/boot.md tells how the disk is laid out. U-Boot has to have the commands test, load, and the one in `start`.

# --- This board --------------------------------------------------------------------------------------------------
setenv device mmc 0
setenv part_A 2
setenv part_B 3
setenv root_A /dev/mmcblk0p2
setenv root_B /dev/mmcblk0p3
# panic= is what brings a slot with a broken kernel or init back here; a machine that hangs needs a watchdog.
setenv options ro rootwait panic=10 quiet
# Loads from partition ${part} of ${device} and starts; returns where that fails.
setenv start 'load ${device}:${part} ${kernel_addr_r} /boot/Image && load ${device}:${part} ${fdt_addr_r} /boot/board.dtb && booti ${kernel_addr_r} - ${fdt_addr_r}'
# Where U-Boot has no place for its environment of its own ("env is nowhere"): commands that read and write it raw at
# ${env_addr}, where fw_env.config says. Left empty, U-Boot's own is used, with saveenv.
setenv env_size
setenv env_addr
setenv env_read
setenv env_write

# --- The environment ---------------------------------------------------------------------------------------------
if test -n "${env_size}"; then
  setenv BOOT_ORDER
  if run env_read && env import -c ${env_addr} ${env_size} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT moonsinter_trial; then
    echo moonsinter: the environment can be read
  fi
fi
# One that could not be read, or never had our variables: every slot is on trial, so that one which does not start is
# left, whichever it is. moonsinterd ends that when it marks the slot that runs good.
if test "${BOOT_ORDER}" != "A B" -a "${BOOT_ORDER}" != "B A" -a "${BOOT_ORDER}" != "A" -a "${BOOT_ORDER}" != "B"; then
  echo moonsinter: no BOOT_ORDER, every slot is on trial
  setenv BOOT_ORDER A B
  setenv BOOT_A_LEFT 3
  setenv BOOT_B_LEFT 3
  setenv moonsinter_trial all
fi
test -n "${BOOT_A_LEFT}" || setenv BOOT_A_LEFT 3
test -n "${BOOT_B_LEFT}" || setenv BOOT_B_LEFT 3
if test -n "${env_size}"; then
  setenv env_save 'env export -c -s ${env_size} ${env_addr} BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT moonsinter_trial && run env_write'
else
  setenv env_save saveenv
fi

# --- Which slot --------------------------------------------------------------------------------------------------
setenv any no
for slot in ${BOOT_ORDER}; do
  if test "${slot}" = A; then
    setenv part ${part_A}
    setenv left ${BOOT_A_LEFT}
    setenv bootargs root=${root_A} moonsinter.slot=a ${options}
  else
    setenv part ${part_B}
    setenv left ${BOOT_B_LEFT}
    setenv bootargs root=${root_B} moonsinter.slot=b ${options}
  fi
  setenv go no
  if test "${moonsinter_trial}" = all -o "${moonsinter_trial}" = "${slot}"; then
    # U-Boot need not have setexpr. A try that cannot be written down is not made, for it would be made for ever, but
    # where there is nothing better.
    setenv fewer none
    for n in 0 1 2 3 4 5 6 7 8 9; do
      if test "${left}" = "${n}" -a "${fewer}" != none; then
        setenv BOOT_${slot}_LEFT ${fewer}
        if run env_save; then setenv go yes; fi
        if test "${moonsinter_trial}" = all; then setenv go yes; fi
        setenv left taken
      fi
      setenv fewer ${n}
    done
  else
    if test "${left}" != 0; then setenv go yes; fi
  fi
  if test "${go}" = yes; then
    setenv any yes
    echo moonsinter: starting slot ${slot} from ${device}:${part}
    run start
    echo moonsinter: slot ${slot} cannot be started
  fi
done

echo moonsinter: no slot can be started
# Not one has a start left, which moonsinterd does not let come about but where every slot is on trial: begin anew with that.
if test "${any}" = no; then
  setenv moonsinter_trial all
  setenv BOOT_A_LEFT 3
  setenv BOOT_B_LEFT 3
  run env_save
fi
sleep 10
reset
