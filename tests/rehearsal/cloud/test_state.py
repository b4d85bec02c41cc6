"""The API's memory survives its process: everything a cluster needs, saved and read back by a fresh one."""

import json
import subprocess
import sys
from pathlib import Path

FILL = """
import json, sys
from pathlib import Path
import boto3
from moto import mock_aws
from rehearsal.cloud import ec2, seeds, state

ec2.install(None)
with mock_aws():
    seeds.plant("us-east-1")
    c = {name: boto3.client(name, "us-east-1") for name in ("ec2", "s3", "iam", "ssm", "sts")}
    vpc = c["ec2"].create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet = c["ec2"].create_subnet(VpcId=vpc, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    ami = c["ssm"].get_parameter(Name="/drydock/rehearsal/ami-id")["Parameter"]["Value"]
    c["ssm"].put_parameter(Name="/mine", Value="1", Type="String")
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 1, "Encrypted": True, "VolumeType": "gp3"}}
    run = dict(ImageId=ami, MinCount=1, MaxCount=1, InstanceType="m7i.xlarge", SubnetId=subnet)
    c["ec2"].run_instances(**run, BlockDeviceMappings=[disk], ClientToken="once")
    c["iam"].create_role(RoleName="role", AssumeRolePolicyDocument="{}")
    c["iam"].create_instance_profile(InstanceProfileName="profile")
    c["iam"].add_role_to_instance_profile(InstanceProfileName="profile", RoleName="role")
    c["sts"].assume_role(RoleArn="arn:aws:iam::123456789012:role/role", RoleSessionName="session")
    c["s3"].create_bucket(Bucket="weights")
    c["s3"].put_object(Bucket="weights", Key="a", Body=b"x" * 1000)
    upload = c["s3"].create_multipart_upload(Bucket="weights", Key="big")["UploadId"]
    part = c["s3"].upload_part(Bucket="weights", Key="big", UploadId=upload, PartNumber=1, Body=b"y" * 500)
    parts = {"Parts": [{"ETag": part["ETag"], "PartNumber": 1}]}
    c["s3"].complete_multipart_upload(Bucket="weights", Key="big", UploadId=upload, MultipartUpload=parts)
    state.save(Path(sys.argv[1]))
    print(json.dumps([ami, subnet]))
"""

READ = """
import json, sys
from pathlib import Path
import boto3
from moto import mock_aws
from rehearsal.cloud import ec2, inventory, state

ec2.install(None)
with mock_aws():
    assert state.load(Path(sys.argv[1]))
    ami, subnet = json.loads(sys.argv[2])
    c = {name: boto3.client(name, "us-east-1") for name in ("ec2", "s3", "iam", "ssm", "sts")}
    run = dict(ImageId=ami, MinCount=1, MaxCount=1, InstanceType="m7i.xlarge", SubnetId=subnet)
    tokens = ("once", "once", "twice")
    first, again, other = (c["ec2"].run_instances(**run, ClientToken=t)["Instances"][0] for t in tokens)
    profile = c["iam"].get_instance_profile(InstanceProfileName="profile")["InstanceProfile"]
    with_body = {key: c["s3"].get_object(Bucket="weights", Key=key)["Body"].read() for key in ("a", "big")}
    print(json.dumps({
        "same": first["InstanceId"] == again["InstanceId"],
        "addresses": [first["PrivateIpAddress"], other["PrivateIpAddress"]],
        "parameter": c["ssm"].get_parameter(Name="/mine")["Parameter"]["Value"],
        "absent": c["ssm"].get_parameters(Names=["/not/there"])["InvalidParameters"],
        "role": profile["Roles"][0]["RoleName"],
        "objects": {key: [body[:1].decode(), len(body)] for key, body in with_body.items()},
        "inventory": inventory.inventory()["s3 object"],
    }))
"""


def run(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_fresh_process_knows_what_the_former_one_did(tmp_path: Path) -> None:
    made = run(FILL, str(tmp_path))
    found = json.loads(run(READ, str(tmp_path), made))
    assert found == {
        "same": True,
        "addresses": ["10.9.1.4", "10.9.1.5"],
        "parameter": "1",
        "absent": ["/not/there"],
        "role": "role",
        "objects": {"a": ["x", 1000], "big": ["y", 500]},
        "inventory": ["weights/a", "weights/big"],
    }


def test_no_snapshot_is_no_error(tmp_path: Path) -> None:
    from rehearsal.cloud import state

    assert state.load(tmp_path) is False
