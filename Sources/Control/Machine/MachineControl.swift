/// What commands may ask of the machine, by subject. All of it is called on the main reactor's thread, and nothing
/// blocks.
package protocol MachineControl: MachineInformation, RunCommands, BalloonCommands, DescriptorCommands,
    BackendCommands, DeviceCommands
{}
